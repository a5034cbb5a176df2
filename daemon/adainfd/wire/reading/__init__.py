"""The other end of a stream: connections to publishers, and their messages."""
