"""Connection events, as reported by libzmq's socket monitors."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

__all__ = ["ACCEPTED", "ENDED", "LISTENING", "Happened", "Monitors"]

LISTENING, ACCEPTED, ENDED = zmq.EVENT_LISTENING, zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED
# Handshakes refused by the authenticator are left out: it counts them itself.
_HANDSHAKE_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


@dataclass(frozen=True, slots=True)
class Happened:
    """A connection event.

    kind: one of the constants above; any other value is a failed handshake. descriptor: libzmq's, of the listener or
    of the connection that was accepted or has ended; meaningless for a handshake. tcp: at a port, not at a path.
    socket: the `id` of the monitored socket.
    """

    kind: int
    descriptor: int
    tcp: bool
    socket: int

    @property
    def key(self) -> tuple[int, int]:
        """The identity of a connection among those that exist at the same time."""
        return self.socket, self.descriptor


class Monitors:
    """Monitor sockets, whose events must be read: libzmq blocks once a queue is full.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._monitors: list[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = []

    def add(self, zmq_socket: "zmq.Socket[bytes]") -> int:
        """Monitor a socket, before it binds; return a descriptor that becomes readable when there are events."""
        monitor = zmq_socket.get_monitor_socket(LISTENING | ACCEPTED | ENDED | _HANDSHAKE_FAILED)
        monitor.setsockopt(zmq.LINGER, 0)
        self._monitors.append((zmq_socket, monitor))
        return int(monitor.getsockopt(zmq.FD))

    def happened(self) -> list[Happened]:
        """Return the events since the last call."""
        return [
            Happened(*event, id(zmq_socket)) for zmq_socket, monitor in self._monitors for event in _events(monitor)
        ]

    def stop(self) -> None:
        """Stop the monitors; another thread should keep reading their events meanwhile."""
        for zmq_socket, _ in self._monitors:
            if not zmq_socket.closed:
                zmq_socket.disable_monitor()

    def close(self) -> None:
        """Close the monitors."""
        for _, monitor in self._monitors:
            monitor.close(linger=0)


def _events(monitor: "zmq.Socket[bytes]") -> Iterator[tuple[int, int, bool]]:
    while True:
        try:
            event, endpoint = monitor.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return
        kind, descriptor = struct.unpack("=Hi", event)
        yield kind, descriptor, endpoint.startswith(b"tcp://")
