"""Subscribers of the bound sockets: their authentication, and the limits on their subscriptions."""

import time
from collections import Counter
from collections.abc import Iterator

import zmq

from adainf.base.hindrances import Watched
from adainfd.base.logs import Logger
from adainfd.wire.serving.authentication import CurveServer, ZapAuthenticator
from adainfd.wire.serving.bounds import MOST, bounded
from adainfd.wire.serving.connection import Connection
from adainfd.wire.serving.connections import Connections
from adainfd.wire.serving.requests import Requests

__all__ = ["Readers", "context"]

# Small batches: libzmq keeps every request that it reads, so a connection that exceeds a limit must be closed before
# more of its requests are read. Frames are answered between batches.
_REQUESTS_AT_ONCE, _TIMES = 32, 4
_SUBSCRIBES = b"\x01"
_ZERO_COPY_RECV = 10
"""ZMQ_ZERO_COPY_RECV, which pyzmq does not name."""


def context() -> "zmq.Context[zmq.Socket[bytes]]":
    """Return a context that receives by copy; with libzmq's zero-copy receive, a byte may pin 8 KB."""
    copying: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    copying.set(_ZERO_COPY_RECV, 0)
    return copying


class Readers:
    """The subscribers of XPUB sockets; closes connections that exceed a limit. Close it before the context."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", curve: CurveServer | None, log: Logger, *, most: int = MOST
    ) -> None:
        """context: the sockets' own. curve: keys and allow-list of the ports, or None. most: connections at once."""
        self._connections = Connections(log, most=most)
        self.gate = None if curve is None else ZapAuthenticator(context, curve, self._connections)
        """Checks the keys of readers at the ports; None where no keys are required."""
        self._requests: Requests[Connection] = Requests()

    def watch(self, socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
        """Limit and watch a socket, before it binds; return it."""
        self._connections.watch(bounded(socket))
        return socket

    def open(self) -> None:
        """Start to enforce the limits, once all sockets are bound."""
        self._connections.open()

    @property
    def thread(self) -> Watched:
        """The thread that enforces the limits on connections."""
        return self._connections.thread

    @property
    def subscriptions(self) -> int:
        """Topics subscribed to, summed over all readers."""
        return self._requests.count

    @property
    def wanted(self) -> Counter[bytes]:
        """Number of readers subscribed, by topic."""
        return self._requests.wanted

    @property
    def hung_up(self) -> int:
        """Connections closed so far by the limits."""
        return self._connections.hung_up

    def hear(self, socket: "zmq.Socket[bytes]") -> set[bytes]:
        """Return the topics subscribed to since the last call; the rest of a flood is left for the next call."""
        asked: set[bytes] = set()
        for _ in range(_TIMES):
            requests = list(_requests(socket))
            # libzmq reports a connection before its first request, so every request's connection is known now.
            for connection in self._connections.settle():
                self._requests.forget(connection)
            now = time.monotonic()
            for descriptor, request in requests:
                reader = self._connections.heard(socket, descriptor, len(request))
                if reader is not None and self._take(reader, request, now) and request.startswith(_SUBSCRIBES):
                    asked.add(request[1:])
            if len(requests) < _REQUESTS_AT_ONCE:
                break
        return asked

    def _take(self, reader: Connection, request: bytes, now: float) -> bool:
        """Count a request, closing a connection that exceeds a limit; return whether the reader stays connected."""
        excess = self._requests.take(reader, request, now)
        if excess is None:
            return True
        self._requests.forget(excess.connection)
        self._connections.hang_up(excess.connection, excess.why)
        return excess.connection is not reader

    def close(self) -> None:
        """End authentication and monitoring; call before the sockets are closed."""
        if self.gate is not None:
            self.gate.close()
        self._connections.close()


def _requests(socket: "zmq.Socket[bytes]") -> Iterator[tuple[int, bytes]]:
    """Yield the next requests, each with the descriptor of its connection.

    The descriptor is -1 where libzmq itself withdraws the subscriptions of a closed connection.
    """
    for _ in range(_REQUESTS_AT_ONCE):
        try:
            frame = socket.recv(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return
        try:
            yield int(frame.get(zmq.SRCFD)), frame.bytes
        except zmq.ZMQError:
            yield -1, b""
