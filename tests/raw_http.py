"""HTTP by hand, where a client library would not send what is to be sent."""

import contextlib
import socket


def answered(client: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            said += part
    return said
