"""Cameras: a process each, which keeps only the newest frames."""
