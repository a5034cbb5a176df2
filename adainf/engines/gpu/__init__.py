"""The engine for a GPU."""
