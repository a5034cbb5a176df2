"""What leaves the daemon: messages, their encoding, and the sockets they go out on."""
