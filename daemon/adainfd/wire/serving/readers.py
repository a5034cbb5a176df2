"""Subscribers of the bound sockets: who may connect, and the limits on what they subscribe to."""

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
"""ZMQ_ZERO_COPY_RECV, for which pyzmq has no name."""


def context() -> "zmq.Context[zmq.Socket[bytes]]":
    """A context in which what is received takes the memory that it needs: else a byte may keep 8 KB."""
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made.set(_ZERO_COPY_RECV, 0)
    return made


class Readers:
    """The subscribers of XPUB sockets; closes connections that exceed a limit. Close it before the context."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", curve: CurveServer | None, log: Logger, *, most: int = MOST
    ) -> None:
        """context: of the sockets. curve: keys and allow-list of the ports, None for no keys. most: connections."""
        self._connections = Connections(log, most=most)
        self.gate = None if curve is None else ZapAuthenticator(context, curve, self._connections)
        """Checks the keys of readers at the ports; None where no keys are required."""
        self._requests: Requests[Connection] = Requests()

    def watch(self, socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
        """The socket, bounded and watched; before it binds."""
        self._connections.watch(bounded(socket))
        return socket

    def open(self) -> None:
        """All is bound."""
        self._connections.open()

    @property
    def thread(self) -> Watched:
        """What keeps connections within their bounds."""
        return self._connections.thread

    @property
    def subscriptions(self) -> int:
        """Topics that are subscribed to, each reader's counted."""
        return self._requests.count

    @property
    def wanted(self) -> Counter[bytes]:
        """How many readers subscribe to a topic."""
        return self._requests.wanted

    @property
    def hung_up(self) -> int:
        """Connections hung up on until now."""
        return self._connections.hung_up

    def hear(self, socket: "zmq.Socket[bytes]") -> set[bytes]:
        """The topics that somebody has subscribed to since; a flood of them is left for the next time."""
        asked: set[bytes] = set()
        for _ in range(_TIMES):
            came = list(_requests(socket))
            # What came over a connection is later than its beginning, so that this is known now.
            for connection in self._connections.settle():
                self._requests.forget(connection)
            now = time.monotonic()
            for descriptor, request in came:
                reader = self._connections.heard(socket, descriptor, len(request))
                if reader is not None and self._take(reader, request, now) and request.startswith(_SUBSCRIBES):
                    asked.add(request[1:])
            if len(came) < _REQUESTS_AT_ONCE:
                break
        return asked

    def _take(self, reader: Connection, request: bytes, now: float) -> bool:
        """Whether it may ask for that."""
        excess = self._requests.take(reader, request, now)
        if excess is None:
            return True
        self._requests.forget(excess.connection)
        self._connections.hang_up(excess.connection, excess.why)
        return excess.connection is not reader

    def close(self) -> None:
        """Let nobody in and watch nobody any more; before the sockets are closed."""
        if self.gate is not None:
            self.gate.close()
        self._connections.close()


def _requests(socket: "zmq.Socket[bytes]") -> Iterator[tuple[int, bytes]]:
    """The next requests, each with the descriptor of its connection.

    Where libzmq itself takes back what a connection has left behind, the descriptor is -1.
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
