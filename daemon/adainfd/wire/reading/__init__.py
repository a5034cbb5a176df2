"""The subscriber's side: connections to publishers, and the messages they send."""
