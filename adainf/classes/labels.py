"""Labels that stand for something in every view with classes of its own."""

__all__ = ["UNKNOWN"]

UNKNOWN = "unknown"
"""The label of a picture like none of the taught classes, and the state of a view that shows none of them clearly."""
