"""Events that libzmq reports of the connections to its sockets."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

__all__ = ["ACCEPTED", "ENDED", "LISTENING", "Happened", "Monitors"]

LISTENING, ACCEPTED, ENDED = zmq.EVENT_LISTENING, zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED
# A handshake that the gate has refused is left out: the gate counts these.
_HANDSHAKE_FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


@dataclass(frozen=True, slots=True)
class Happened:
    """An event. kind: one of those above; any other is a handshake that failed. tcp: at a port, not at a path.

    descriptor: libzmq's, of what listens, was accepted, or has ended; of a handshake the event does not say it.
    socket: the `id` of the one that is monitored.
    """

    kind: int
    descriptor: int
    tcp: bool
    socket: int

    @property
    def key(self) -> tuple[int, int]:
        """Tells a connection from all others that are there at the same time."""
        return self.socket, self.descriptor


class Monitors:
    """Monitor sockets. Read their events: once their queues are full, libzmq blocks.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._monitors: list[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]] = []

    def add(self, zmq_socket: "zmq.Socket[bytes]") -> int:
        """Monitor a socket, before it binds; a descriptor that becomes readable when something has happened."""
        monitor = zmq_socket.get_monitor_socket(LISTENING | ACCEPTED | ENDED | _HANDSHAKE_FAILED)
        monitor.setsockopt(zmq.LINGER, 0)
        self._monitors.append((zmq_socket, monitor))
        return int(monitor.getsockopt(zmq.FD))

    def happened(self) -> list[Happened]:
        """The events since the last call."""
        return [Happened(*told, id(zmq_socket)) for zmq_socket, monitor in self._monitors for told in _events(monitor)]

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
