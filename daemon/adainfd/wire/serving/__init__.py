"""The bound sockets: the publisher, its readers, and the limits on their connections."""
