"""The connection to one publisher, as messages."""

from collections.abc import Callable, Iterable

import zmq

from adainfd.wire.messages import Message
from adainfd.wire.reading.feed import Feed
from adainfd.wire.reading.inbox import Gap, Inbox, Unreadable
from adainfd.wire.reading.link import MESSAGES_QUEUED, Box, Link

__all__ = ["Line", "Notice"]

Notice = Gap | Link | Unreadable


class Line(Feed):
    """Subscribes to some topics of a box."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        box: Box,
        topics: Iterable[str],
        notice: Callable[[Notice], None],
        queued: int = MESSAGES_QUEUED,
    ) -> None:
        """Connect, as `Feed`; notice: is told of gaps and of what cannot be read, too."""
        super().__init__(context, box, zmq.SUB, notice, queued)
        self._inbox = Inbox(notice)
        for topic in topics:
            self.socket.setsockopt_string(zmq.SUBSCRIBE, topic)

    @property
    def lost(self) -> int:
        """Messages that were published and did not come, told by holes in their sequences."""
        return self._inbox.lost

    def take(self) -> Message | None:
        """Whatever has come, once: the message, None where it is none or no news. Raises zmq.Again on nothing."""
        parts = self.receive()
        return None if parts is None else self._inbox.take(parts)
