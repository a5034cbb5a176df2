"""The connection to one publisher, read as messages."""

from collections.abc import Callable, Iterable

import zmq

from adainfd.wire.messages import Message
from adainfd.wire.reading.feed import Feed
from adainfd.wire.reading.inbox import Gap, Inbox, Unreadable
from adainfd.wire.reading.link import MESSAGES_QUEUED, Box, Link

__all__ = ["Line", "Notice"]

Notice = Gap | Link | Unreadable


class Line(Feed):
    """A subscription to some topics of a box."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        box: Box,
        topics: Iterable[str],
        notice: Callable[[Notice], None],
        queued: int = MESSAGES_QUEUED,
    ) -> None:
        """Connect as `Feed` does; notice: called with gaps and unreadable messages, too."""
        super().__init__(context, box, zmq.SUB, notice, queued)
        self._inbox = Inbox(notice)
        for topic in topics:
            self.socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    @property
    def lost(self) -> int:
        """Messages that were published but did not arrive, counted by the gaps in their sequences."""
        return self._inbox.lost

    def take(self) -> Message | None:
        """Return the next message, or None where it is unreadable or already known; raise zmq.Again if none waits."""
        parts = self.receive()
        return None if parts is None else self._inbox.take(parts)
