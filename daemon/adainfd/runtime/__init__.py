"""The running daemon: startup, main loop and reload."""
