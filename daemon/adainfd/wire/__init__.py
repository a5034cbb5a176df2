"""Messages, their encoding, and the sockets that publish and receive them."""
