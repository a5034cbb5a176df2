"""What a terminal shows of a running daemon."""
