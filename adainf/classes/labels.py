"""Names that stand for something wherever there are classes of one's own."""

__all__ = ["UNKNOWN", "UNSORTED"]

UNKNOWN = "unknown"
"""The label of a picture like none of the taught classes, and the state of a view that shows none of them clearly."""

UNSORTED = "unsorted"
"""The folder, beside those of the classes, of the pictures that nobody has labelled yet."""
