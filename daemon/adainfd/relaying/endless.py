"""Endless messages: libzmq buffers a message's parts until the last arrives, and limits neither number nor size."""

import resource
from collections.abc import Sequence
from pathlib import Path

from adainfd.wire.reading.feed import Feed

__all__ = ["Endless"]

_EVERY_SECONDS = 0.1
_SPARE_BYTES = 32 << 20
_PAGE = resource.getpagesize()


class Endless:
    """Closes connections that are amid a message while this process exceeds its memory limit.

    The limit is 32 MiB above the resident memory at the start. Times are monotonic.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self.due = 0.0
        """When to check again."""
        self._feeds = feeds
        self._most = _resident() + _SPARE_BYTES

    def review(self, now: float) -> None:
        """Check the memory, if it is time."""
        if now < self.due:
            return
        self.due = now + _EVERY_SECONDS
        if _resident() > self._most:
            for feed in self._feeds:
                if feed.is_amidst(now):
                    feed.hang_up("it sends a message without end")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
