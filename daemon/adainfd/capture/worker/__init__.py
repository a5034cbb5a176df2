"""The program run by a camera process."""
