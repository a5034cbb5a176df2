"""What the terminal shows of a running daemon, and the options that its commands share."""
