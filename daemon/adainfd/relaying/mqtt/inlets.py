"""The connections of a relay to its boxes: served in turn, each limited in rate, so that none can starve another."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import zmq

from adainfd.base.token_bucket import TokenBucket
from adainfd.relaying.complaints import Complaints
from adainfd.relaying.endless import Endless
from adainfd.relaying.names import Names
from adainfd.relaying.streams.sources import QUEUED, tell
from adainfd.wire.messages import Message
from adainfd.wire.reading.inbox import Gap, Unreadable
from adainfd.wire.reading.line import Line, Notice
from adainfd.wire.reading.link import Box, Link

__all__ = ["Inlets"]

_AT_ONCE = 20
"""Messages of one box before the other boxes have their turn."""
_A_SECOND = 1000
"""Messages of one box that are taken; any more wait, and finally the box drops them."""
_IN_A_BURST = 2000
_PAUSE_SECONDS = 0.05
_SOCKETS_AT_LEAST, _SOCKETS_PER_BOX = 16, 4


@dataclass(slots=True)
class _Inlet:
    endpoint: str
    line: Line
    messages: TokenBucket
    behind: bool = False


class Inlets:
    """Reads boxes in turn and admits messages under host names that are theirs; a context manager."""

    def __init__(self, boxes: Sequence[Box], names: Names, topics: Sequence[str], complaints: Complaints) -> None:
        self._names = names
        self._complaints = complaints
        by_endpoint = {box.endpoint: box for box in boxes}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.max_sockets = _SOCKETS_AT_LEAST + _SOCKETS_PER_BOX * len(by_endpoint)
        now = time.monotonic()
        self._inlets = [
            _Inlet(
                endpoint,
                Line(self._context, box, topics, partial(self._tell, endpoint), QUEUED),
                TokenBucket(_IN_A_BURST, _A_SECOND, now),
            )
            for endpoint, box in by_endpoint.items()
        ]
        self._endless = Endless([inlet.line for inlet in self._inlets])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors, one of which becomes readable when a message may have arrived; wait `pause` at most."""
        return tuple(descriptor for inlet in self._inlets for descriptor in inlet.line.descriptors)

    @property
    def pause(self) -> float | None:
        """Seconds until more of the messages already received may be taken; None where none are left."""
        behind = [inlet for inlet in self._inlets if inlet.behind]
        if not behind:
            return None
        return 0.0 if any(inlet.messages.left >= 1 for inlet in behind) else _PAUSE_SECONDS

    @property
    def connected(self) -> bool:
        """Whether a publisher is connected at the address of every box."""
        return all(inlet.line.link.state == "connected" for inlet in self._inlets)

    def __len__(self) -> int:
        return len(self._inlets)

    def take(self) -> Iterator[tuple[str, Message]]:
        """Yield one round of messages: some of each box, with its endpoint."""
        for inlet in self._inlets:
            inlet.line.follow()
            inlet.messages.earn(time.monotonic())
            yield from self._of(inlet)
        self._endless.review(time.monotonic())

    def refuse(self, endpoint: str, why: str) -> None:
        """Count a refused message, and log it once in a while."""
        self._complaints.make("message_refused", endpoint, time.monotonic(), endpoint=endpoint, why=why)

    def _of(self, inlet: _Inlet) -> Iterator[tuple[str, Message]]:
        for _ in range(_AT_ONCE):
            if inlet.messages.left < 1:
                self._complaints.make("box_too_fast", inlet.endpoint, time.monotonic(), endpoint=inlet.endpoint)
                break
            try:
                message = inlet.line.take()
            except zmq.Again:
                inlet.behind = False
                return
            inlet.messages.spend()
            if message is None:
                continue
            if (why := self._names.refusal(inlet.endpoint, message.host)) is not None:
                self.refuse(inlet.endpoint, why)
                continue
            yield inlet.endpoint, message
        inlet.behind = True

    def _tell(self, endpoint: str, notice: Notice) -> None:
        values: dict[str, Any] = {"endpoint": endpoint}
        match notice:
            case Gap():
                event, values = "messages_lost", {**values, "topic": notice.topic, "count": notice.lost, "unit": "lost"}
            case Unreadable():
                event, values = "message_unreadable", {**values, "topic": notice.topic, "why": notice.why}
            case Link():
                tell(self._complaints, endpoint, notice)
                return
        self._complaints.make(event, endpoint, time.monotonic(), **values)
