"""This process: its command line, its environment and its resource limits."""
