"""The client for the daemon's message stream: `Subscriber`. Imports neither torch nor OpenCV."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import zmq

from adainf.base.errors import InvalidInputError
from adainfd.wire.keys import KeyPair, public_key
from adainfd.wire.messages import Event, Message, Result, State, Status
from adainfd.wire.reading.inbox import Gap, Unreadable
from adainfd.wire.reading.line import Line, Notice
from adainfd.wire.reading.link import Box, Link
from adainfd.wire.serving.requests import too_much

__all__ = [
    "Box",
    "Condition",
    "Event",
    "Gap",
    "Link",
    "Message",
    "Notice",
    "Result",
    "State",
    "Status",
    "Subscriber",
    "Unreadable",
]

Condition = Literal["receiving", "quiet", "not allowed", "no publisher"]

_QUIET_AFTER_SECONDS = 3.0
_LOOKED_AT_ONCE = 1000
_SOCKETS_AT_LEAST, _SOCKETS_PER_BOX = 16, 4


class Subscriber:
    """A subscriber to the messages of one or more daemons that reconnects by itself.

    >>> with Subscriber("tcp://127.0.0.1:5600") as messages:    # doctest: +SKIP
    ...     for message in messages:                            # or: async for
    ...         print(message.camera, message.labels[0].label)

    Daemons resend last values for late subscribers. A resent message is marked `repeated` and returned at most once;
    messages this subscriber has already received are skipped.
    """

    def __init__(
        self,
        *connect: str | Box,
        topics: Iterable[str] = ("result/",),
        key: Path | str | None = None,
        server: str | None = None,
        notice: Callable[[Notice], None] | None = None,
    ) -> None:
        """Connect to every endpoint; a daemon may also start later.

        connect: daemon endpoints, or one Box per daemon where their keys differ. topics: topic prefixes to subscribe
        to. key: the file with our CURVE key pair. server: the daemons' public key, or the file that holds it. Daemons
        with authentication need both. notice: called during `receive` with each Gap, Link change and Unreadable.
        Raises InvalidInputError on a malformed endpoint or key, and on more topics than a daemon allows.
        """
        if not connect:
            raise InvalidInputError("endpoint: none given")
        wanted = tuple(topics)
        if (why := too_much(wanted)) is not None:
            raise InvalidInputError(f"topics: {len(wanted)} given, and a daemon closes such a connection: {why}")
        own = None if key is None else KeyPair.read(Path(key))
        theirs = None if server is None else public_key(server)
        boxes = [Box(endpoint, own, theirs) if isinstance(endpoint, str) else endpoint for endpoint in connect]
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.max_sockets = _SOCKETS_AT_LEAST + _SOCKETS_PER_BOX * len(boxes)
        self._heard_at = -math.inf
        self._lines: deque[Line] = deque()
        self._poller = zmq.Poller()
        try:
            for box in {box.endpoint: box for box in boxes}.values():
                self._lines.append(Line(self._context, box, wanted, notice or (lambda _: None)))
                self._poller.register(self._lines[-1].socket, zmq.POLLIN)
                self._poller.register(self._lines[-1].monitor, zmq.POLLIN)
        except BaseException:
            self.close()
            raise
        self._in_order = tuple(self._lines)
        self.behind = False
        """True if the last `receive` returned None at its batch limit, so more data is already waiting."""

    @property
    def lost(self) -> int:
        """The number of published messages that did not arrive, counted from gaps in the sequence numbers."""
        return sum(line.lost for line in self._lines)

    @property
    def links(self) -> tuple[Link, ...]:
        """The state of each endpoint as of the last `receive`."""
        return tuple(line.link for line in self._in_order)

    @property
    def condition(self) -> Condition:
        """The state of the stream as of the last `receive`: receiving, or the reason why no messages arrive."""
        states = {link.state for link in self.links}
        if time.monotonic() - self._heard_at < _QUIET_AFTER_SECONDS:
            return "receiving"
        if "connected" in states:
            return "quiet"
        return "not allowed" if "refused" in states else "no publisher"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors for an external event loop.

        After `receive(0)` has returned None, wait for one of them to become readable; if `behind` is true, call
        `receive(0)` again at once.
        """
        return tuple(descriptor for line in self._in_order for descriptor in line.descriptors)

    def receive(self, seconds: float | None = None) -> Message | None:
        """Return the next message, or None if none arrives within `seconds`; None waits forever."""
        end = None if seconds is None else time.monotonic() + seconds
        while (message := self._next()) is None and (wait := self._seconds_to_wait(end)) != 0:
            self._poller.poll(None if wait is None else math.ceil(1000 * wait))
        return message

    async def receive_async(self, seconds: float | None = None) -> Message | None:
        """Return the next message like `receive`, without blocking the event loop."""
        end = None if seconds is None else time.monotonic() + seconds
        while (message := self._next()) is None and (wait := self._seconds_to_wait(end)) != 0:
            await (asyncio.sleep(0) if self.behind else self._readable(wait))
        return message

    def __iter__(self) -> Iterator[Message]:
        while True:
            message = self.receive()
            if message is not None:
                yield message

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            message = await self.receive_async()
            if message is not None:
                yield message

    def close(self) -> None:
        """Disconnect from every endpoint and discard unread messages."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Message | None:
        """Return a message that has already arrived, round-robin over the connections.

        Reads are bounded per call, so that a flood of unreadable messages cannot block the caller.
        """
        for line in self._lines:
            line.follow()
        quiet = 0
        for _ in range(max(_LOOKED_AT_ONCE, len(self._lines))):
            self._lines.rotate(-1)
            try:
                message = self._lines[0].take()
            except zmq.Again:
                quiet += 1
                if quiet == len(self._lines):
                    break
                continue
            quiet = 0
            self._heard_at = time.monotonic()
            if message is not None:
                return message
        self.behind = quiet < len(self._lines)
        return None

    def _seconds_to_wait(self, end: float | None) -> float | None:
        """Return the seconds until the next deadline or reconnect: 0 once `end` has passed, None to wait forever."""
        now = time.monotonic()
        if end is not None and end <= now:
            return 0
        until = min((at for at in (end, *(line.retry_at for line in self._lines)) if at is not None), default=None)
        return None if until is None else max(0.001, until - now)

    async def _readable(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        for descriptor in self.descriptors:
            loop.add_reader(descriptor, ready.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), seconds)
        finally:
            for descriptor in self.descriptors:
                loop.remove_reader(descriptor)
