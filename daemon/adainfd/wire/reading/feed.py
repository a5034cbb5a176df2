"""The connection to one publisher: what comes over it, in parts, is known to come from there."""

import contextlib
import termios
import time
from collections.abc import Callable
from fcntl import ioctl

import zmq

from adainfd.wire.reading.link import (
    AFTER_REFUSAL_SECONDS,
    LONGEST_MESSAGE,
    MESSAGES_QUEUED,
    Box,
    Link,
    Links,
    connecting,
)

__all__ = ["Feed"]

_MOST_PARTS = 16
"""That are looked at; a message of ours has two."""
_A_WHILE_SECONDS = 0.2


class Feed:
    """A socket of its own for each box, so that none can fill another's queue, or speak in its name."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        box: Box,
        kind: int,
        notice: Callable[[Link], None],
        queued: int = MESSAGES_QUEUED,
    ) -> None:
        """Connect; a publisher that is not there yet is waited for. Raises InvalidInputError on a malformed endpoint.

        kind: of the socket, SUB or XSUB. notice: is told of each change of the connection. queued: messages that wait
        here at most.
        """
        self._box = box
        self._changed = notice
        self._retry_at: float | None = None
        self._let_go: Link | None = None
        self._received_at = time.monotonic()
        self.socket = connecting(context.socket(kind), queued)
        self._links = Links(self.socket, keys=box.keys is not None)
        self._links.by_endpoint[box.endpoint] = Link(box.endpoint, "connecting")
        box.connect(self.socket)

    @property
    def monitor(self) -> "zmq.Socket[bytes]":
        """Readable when the connection has changed; call `follow` then."""
        return self._links.monitor

    @property
    def descriptors(self) -> tuple[int, int]:
        """One becomes readable when there may be something again, after nothing was received."""
        return int(self.socket.getsockopt(zmq.FD)), int(self.monitor.getsockopt(zmq.FD))

    @property
    def link(self) -> Link:
        """How the connection stood at the last `follow`."""
        return self._links.by_endpoint[self._box.endpoint]

    @property
    def retry_at(self) -> float | None:
        """When `follow` has something to do, whatever comes."""
        return self._retry_at

    def follow(self) -> None:
        """Tell of what has changed, and connect anew a while after libzmq has given up, or we have hung up."""
        now = time.monotonic()
        for link in self._links.changes():
            if self._let_go is None:
                self._changed(link)
        if self._let_go is not None:  # all else is of the connection before
            self._links.by_endpoint[self._box.endpoint] = self._let_go
        elif self._box.endpoint not in self._links.given_up:
            self._retry_at = None
        elif self._retry_at is None:
            self._retry_at = now + AFTER_REFUSAL_SECONDS
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = now + AFTER_REFUSAL_SECONDS
            self._let_go = None
            self._box.connect(self.socket, anew=True)

    def receive(self) -> list[bytes] | None:
        """The parts of a message that has come; None where they are too much. Raises zmq.Again on nothing.

        libzmq bounds each part and not their sum.
        """
        parts = [self.socket.recv(zmq.NOBLOCK)]
        self._received_at = time.monotonic()
        size = len(parts[0])
        while self.socket.getsockopt(zmq.RCVMORE):
            part = self.socket.recv(copy=False)
            size += len(part)
            if size <= LONGEST_MESSAGE and len(parts) < _MOST_PARTS:
                parts.append(part.bytes)
        if size <= LONGEST_MESSAGE:
            return parts
        self.hang_up(f"it sent a message of {size} bytes, of {LONGEST_MESSAGE} allowed")
        return None

    def is_amidst(self, now: float) -> bool:
        """Whether more and more comes of a message that has not ended."""
        descriptor = self._links.descriptors.get(self._box.endpoint)
        if descriptor is None or self.link.state != "connected" or now - self._received_at < _A_WHILE_SECONDS:
            return False
        waiting = bytearray(4)
        with contextlib.suppress(OSError):  # the connection has gone
            ioctl(descriptor, termios.FIONREAD, waiting)
        return any(waiting) and not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN

    def hang_up(self, why: str) -> None:
        """Let go of the publisher and of what waits to be read, and connect again after a while."""
        self._let_go = Link(self._box.endpoint, "absent", why)
        self._links.by_endpoint[self._box.endpoint] = self._let_go
        self._retry_at = time.monotonic() + AFTER_REFUSAL_SECONDS
        self._box.disconnect(self.socket)
        self._changed(self._let_go)
