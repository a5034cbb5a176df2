"""This process: its command line, its environment, and what the system allows it."""
