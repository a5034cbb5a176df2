"""The program that a camera's process runs."""
