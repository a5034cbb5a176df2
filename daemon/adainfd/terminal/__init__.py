"""Terminal views of a running daemon."""
