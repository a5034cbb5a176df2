"""The connection to one publisher: what comes over it is known to come from there."""

import time
from collections.abc import Callable, Iterable

import zmq

from adainfd.wire.inbox import Gap, Inbox, Unreadable
from adainfd.wire.link import AFTER_REFUSAL_SECONDS, Box, Link, Links, connecting
from adainfd.wire.messages import Message

__all__ = ["Line", "Notice"]

Notice = Gap | Link | Unreadable


class Line:
    """A socket of its own for each box, so that none can fill another's queue, or count in its name."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        box: Box,
        topics: Iterable[str],
        notice: Callable[[Notice], None],
    ) -> None:
        """Connect; who is not there yet is waited for. Raises InvalidInputError on a malformed endpoint."""
        self._box = box
        self._notice = notice
        self._inbox = Inbox(notice)
        self._retry_at: float | None = None
        self.socket = connecting(context.socket(zmq.SUB))
        for topic in topics:
            self.socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        self._links = Links(self.socket, keys=box.keys is not None)
        self._links.by_endpoint[box.endpoint] = Link(box.endpoint, "connecting")
        box.connect(self.socket)

    @property
    def monitor(self) -> "zmq.Socket[bytes]":
        """Readable when the connection has changed; call `follow` then."""
        return self._links.monitor

    @property
    def descriptors(self) -> tuple[int, int]:
        """One becomes readable when there may be something again, after `take` has found nothing."""
        return int(self.socket.getsockopt(zmq.FD)), int(self.monitor.getsockopt(zmq.FD))

    @property
    def link(self) -> Link:
        """How the connection stood at the last `follow`."""
        return self._links.by_endpoint[self._box.endpoint]

    @property
    def lost(self) -> int:
        """Messages that were published and did not come, told by holes in their sequences."""
        return self._inbox.lost

    @property
    def retry_at(self) -> float | None:
        """When `follow` has something to do, whatever comes."""
        return self._retry_at

    def follow(self) -> None:
        """Tell of what has changed, and connect anew where that was refused a while ago."""
        for link in self._links.changes():
            self._retry_at = time.monotonic() + AFTER_REFUSAL_SECONDS if link.state == "refused" else None
            self._notice(link)
        now = time.monotonic()
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = now + AFTER_REFUSAL_SECONDS
            self._box.connect(self.socket, anew=True)

    def take(self) -> Message | None:
        """Whatever has come, once: the message, None where it is none or no news. Raises zmq.Again on nothing."""
        return self._inbox.take(self.socket.recv_multipart(zmq.NOBLOCK))
