"""The connection to one publisher, on a socket of its own that attributes each message to that publisher."""

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
"""Parts of a message that are kept; the daemon's messages have two."""
_A_WHILE_SECONDS = 0.2


class Feed:
    """A socket per box, so that no box can fill another's queue or speak in its name."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        box: Box,
        kind: int,
        notice: Callable[[Link], None],
        queued: int = MESSAGES_QUEUED,
    ) -> None:
        """Connect, now or once the publisher is there; raise InvalidInputError on a malformed endpoint.

        kind: the socket's type, SUB or XSUB. notice: called with each change of the connection. queued: messages
        queued here at most.
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
        """A socket that becomes readable when the connection has changed; call `follow` then."""
        return self._links.monitor

    @property
    def descriptors(self) -> tuple[int, int]:
        """Two file descriptors to poll once `receive` has found nothing: either signals that it may find more."""
        return int(self.socket.getsockopt(zmq.FD)), int(self.monitor.getsockopt(zmq.FD))

    @property
    def link(self) -> Link:
        """The connection's state as of the last `follow`."""
        return self._links.by_endpoint[self._box.endpoint]

    @property
    def retry_at(self) -> float | None:
        """Monotonic time at which `follow` has work to do even if nothing arrives; None if it has none."""
        return self._retry_at

    def follow(self) -> None:
        """Report changes of the connection, and reconnect a while after libzmq gave up or we hung up."""
        now = time.monotonic()
        for link in self._links.changes():
            if self._let_go is None:
                self._changed(link)
        if self._let_go is not None:  # any other state belongs to the connection before
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
        """Return the parts of the next message, or None where they are too long; raise zmq.Again where none waits.

        libzmq limits the size of each part, but not their sum.
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
        """Return whether data keeps arriving for a message that has not ended."""
        descriptor = self._links.descriptors.get(self._box.endpoint)
        if descriptor is None or self.link.state != "connected" or now - self._received_at < _A_WHILE_SECONDS:
            return False
        waiting = bytearray(4)
        with contextlib.suppress(OSError):  # the connection is gone
            ioctl(descriptor, termios.FIONREAD, waiting)
        return any(waiting) and not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN

    def hang_up(self, why: str) -> None:
        """Disconnect, discard unread messages, and have `follow` reconnect after a while."""
        self._let_go = Link(self._box.endpoint, "absent", why)
        self._links.by_endpoint[self._box.endpoint] = self._let_go
        self._retry_at = time.monotonic() + AFTER_REFUSAL_SECONDS
        self._box.disconnect(self.socket)
        self._changed(self._let_go)
