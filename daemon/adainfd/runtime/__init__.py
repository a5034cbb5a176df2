"""The running daemon: its start, its loop, and its reload."""
