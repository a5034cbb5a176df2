"""Attacks on the HTTP port, which attacks.py runs beside a daemon.

Each takes HOST:PORT and the monotonic time at which to stop. To add an attack, write such a function and list it in
ATTACKS.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial

__all__ = ["ATTACKS", "Attack"]

_GOOD = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_MOST_SOCKETS = 200

Attack = Callable[[str, float], None]


def idle_connections(said: bytes, address: str, until: float) -> None:
    """Open connections as fast as possible; each sends `said` and then waits."""
    kept: list[socket.socket] = []
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            kept.append(_connected(address))
            kept[-1].sendall(said)
        if len(kept) > _MOST_SOCKETS:
            kept.pop(0).close()


def slow_senders(address: str, until: float) -> None:
    """Connect as many clients as the daemon accepts, up to 50; each sends an endless head, byte by byte."""
    senders: list[socket.socket] = []
    while time.monotonic() < until:
        while len(senders) < _MOST_SOCKETS // 4:
            with contextlib.suppress(OSError):
                senders.append(_connected(address))
                senders[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
        senders = [sender for sender in senders if _sends(sender, b"x")]
        time.sleep(0.01)


def slow_readers(address: str, until: float) -> None:
    """Connect as many clients as the daemon accepts; each requests the metrics and never reads.

    The receive buffers are the smallest that the kernel allows.
    """
    readers: list[socket.socket] = []
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            readers.append(_connected(address, receive_buffer=1))
            readers[-1].sendall(_GOOD % b"/metrics")
        del readers[:-_MOST_SOCKETS]
        time.sleep(0.02)


def request_flood(request: bytes, address: str, until: float) -> None:
    """Send one request after another, each after the answer to the previous one."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError), _connected(address) as client:
            client.sendall(request)
            while client.recv(1 << 16):
                pass


def endless(head: bytes, part: bytes, address: str, until: float) -> None:
    """Send `head`, then `part` without end, from one client, as fast as the daemon accepts it."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError), _connected(address) as client:
            client.sendall(head)
            while time.monotonic() < until:
                client.sendall(part)


def come_and_go(address: str, until: float) -> None:
    """Connect and disconnect repeatedly."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _connected(address).close()


def _connected(address: str, receive_buffer: int | None = None) -> socket.socket:
    host, _, port = address.rpartition(":")
    client = socket.socket()
    client.settimeout(0.1)  # if the connection is not accepted at once, try another
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        client.connect((host, int(port)))
    except OSError:
        client.close()
        raise
    return client


def _sends(client: socket.socket, said: bytes) -> bool:
    try:
        client.sendall(said)
    except OSError:
        client.close()
        return False
    return True


ATTACKS: dict[str, Attack] = {
    "HTTP: connect and say nothing": partial(idle_connections, b""),
    "HTTP: connect and say half a head": partial(idle_connections, b"GET / HTTP/1.1\r\n"),
    "HTTP: slow senders": slow_senders,
    "HTTP: slow readers": slow_readers,
    "HTTP: ask for metrics": partial(request_flood, _GOOD % b"/metrics"),
    "HTTP: ask for the state": partial(request_flood, _GOOD % b"/state"),
    "HTTP: ask for a picture": partial(request_flood, _GOOD % b"/picture/door"),
    "HTTP: ask for another host": partial(request_flood, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
    "HTTP: an endless head": partial(endless, b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 1000),
    "HTTP: an endless body": partial(endless, b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", bytes(1 << 16)),
    "HTTP: come and go": come_and_go,
}
