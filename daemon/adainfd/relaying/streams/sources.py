"""The boxes of a relay that publishes: read in turn, each limited to its own host name and to a rate."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import zmq

from adainfd.base.token_bucket import TokenBucket
from adainfd.relaying.complaints import Complaints
from adainfd.relaying.endless import Endless
from adainfd.relaying.names import Names
from adainfd.wire.messages import LONGEST_TOPIC
from adainfd.wire.reading.feed import Feed
from adainfd.wire.reading.link import Box, Link

__all__ = ["QUEUED", "Sources", "tell"]

_AT_ONCE = 100
"""Messages of one box before the other boxes have their turn."""
_A_SECOND, _IN_A_BURST = 5000, 500
"""Messages of one box, about as many as a reader can take. Any more wait, and finally the box drops them."""
QUEUED = 64
"""Messages of one box queued here: 16 MiB where all have the greatest length. Any more wait at the box."""
_PAUSE_SECONDS = 0.02
_PARTS = 2
"""Parts of a message: its topic and its body."""
_LINK_LINES_A_MINUTE = 20


@dataclass(slots=True)
class _Source:
    """A box; messages: its remaining allowance; listens: whether it is polled, as long as it has an allowance left."""

    endpoint: str
    feed: Feed
    messages: TokenBucket
    listens: bool = False


class Sources:
    """A connection to each box."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        boxes: Sequence[Box],
        names: Names,
        complaints: Complaints,
    ) -> None:
        """Connect; raise InvalidInputError where that is not possible."""
        self._names = names
        self._complaints = complaints
        now = time.monotonic()
        self._sources = [
            _Source(
                endpoint,
                Feed(context, box, zmq.XSUB, partial(tell, complaints, endpoint), QUEUED),
                TokenBucket(_IN_A_BURST, _A_SECOND, now),
            )
            for endpoint, box in {box.endpoint: box for box in boxes}.items()
        ]
        self._endless = Endless([source.feed for source in self._sources])
        self._registered = False

    @property
    def sockets(self) -> tuple["zmq.Socket[bytes]", ...]:
        """The XSUB sockets, one per box."""
        return tuple(source.feed.socket for source in self._sources)

    @property
    def due(self) -> float:
        """Monotonic time at which `take` has work to do even if nothing arrives."""
        dues = [source.feed.retry_at for source in self._sources if source.feed.retry_at is not None]
        dues.append(self._endless.due)
        if not all(source.listens for source in self._sources):
            dues.append(time.monotonic() + _PAUSE_SECONDS)
        return min(dues)

    def register(self, poller: zmq.Poller) -> None:
        """Have the poller wait for the boxes that have an allowance left."""
        now = time.monotonic()
        for source in self._sources:
            if not self._registered:
                poller.register(source.feed.monitor, zmq.POLLIN)
            listens = source.messages.earn(now) >= 1
            if listens and not source.listens:
                poller.register(source.feed.socket, zmq.POLLIN)
            elif source.listens and not listens:
                poller.unregister(source.feed.socket)
            source.listens = listens
        self._registered = True

    def take(self, ready: Collection[object]) -> Iterator[list[bytes]]:
        """Yield some messages of each box that is ready; also log changes of the connections."""
        for source in self._sources:
            if source.feed.monitor in ready or source.feed.retry_at is not None:
                source.feed.follow()
            if source.feed.socket in ready:
                yield from self._of(source)
        self._endless.review(time.monotonic())

    def _of(self, source: _Source) -> Iterator[list[bytes]]:
        for _ in range(_AT_ONCE):
            if source.messages.left < 1:
                self._complain("box_too_fast", source.endpoint)
                return
            try:
                message = source.feed.receive()
            except zmq.Again:
                return
            source.messages.spend()
            if message is None:
                return
            if (why := self._refusal(source.endpoint, message)) is None:
                yield message
            else:
                self._complain("message_refused", source.endpoint, why=why)

    def _complain(self, event: str, endpoint: str, **values: Any) -> None:
        self._complaints.make(event, endpoint, time.monotonic(), endpoint=endpoint, **values)

    def _refusal(self, endpoint: str, message: Sequence[bytes]) -> str | None:
        """Return why the box may not publish this under its topic, KIND/HOST or KIND/HOST/CAMERA; None if it may."""
        if len(message) != _PARTS:
            return f"a message has {_PARTS} parts"
        topic = message[0]
        if len(topic) > LONGEST_TOPIC or not topic.isascii():
            return f"a topic has at most {LONGEST_TOPIC} letters, digits and signs"
        _, _, names = topic.decode().partition("/")
        return self._names.refusal(endpoint, names.partition("/")[0])


def tell(complaints: Complaints, endpoint: str, link: Link) -> None:
    """Log a change of a box's connection, at most 20 a minute for each state."""
    is_good = link.state == "connected"
    reason: dict[str, Any] = {} if is_good else {"why": link.why}
    complaints.make(
        f"box_{link.state}",
        endpoint,
        time.monotonic(),
        lines=_LINK_LINES_A_MINUTE,
        level="info" if is_good else "warning",
        endpoint=endpoint,
        **reason,
    )
