"""For programs that read the daemon's stream: `Subscriber`. Imports neither torch nor OpenCV."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import zmq

from adainf.errors import InvalidInputError
from adainfd.wire import endpoint as endpoints
from adainfd.wire.inbox import Gap, Inbox, Unreadable
from adainfd.wire.keys import KeyPair, public_key
from adainfd.wire.link import Link, Links
from adainfd.wire.messages import Event, Message, Result, Status

__all__ = ["Condition", "Event", "Gap", "Link", "Message", "Notice", "Result", "Status", "Subscriber", "Unreadable"]

Notice = Gap | Link | Unreadable
Condition = Literal["receiving", "quiet", "not allowed", "no publisher"]

_QUIET_AFTER_SECONDS = 3.0
_RECONNECT_MS = 100
_RECONNECT_AT_MOST_MS = 2000
# libzmq gives up on whom it could not shake hands with; the keys there may change.
_AFTER_REFUSAL_SECONDS = 3.0
_HANDSHAKE_WITHIN_MS = 5000
_PING_EVERY_MS = 2000
_LONGEST_MESSAGE = 1 << 20


class Subscriber:
    """Receives the messages of one or more daemons, and comes back to them when they have been away.

    >>> with Subscriber("tcp://127.0.0.1:5600") as messages:    # doctest: +SKIP
    ...     for message in messages:                            # or: async for
    ...         print(message.camera, message.labels[0].label)

    What is said again for late subscribers comes marked (`repeated`), once: what this one has heard it passes over.
    """

    def __init__(
        self,
        *connect: str,
        topics: Iterable[str] = ("result/",),
        key: Path | str | None = None,
        server: str | None = None,
        notice: Callable[[Notice], None] | None = None,
    ) -> None:
        """connect: endpoints of daemons. topics: prefixes of the topics wanted.

        key: the file with our CURVE keys, and server: the daemons' public key or the file that holds it; both where
        the daemons want keys. notice: is called, while a message is waited for, with each Gap, each change of a Link,
        and each thing Unreadable.
        Raises InvalidInputError on a malformed endpoint or key. A daemon that is not there yet is waited for.
        """
        if not connect:
            raise InvalidInputError("endpoint: none given")
        for endpoint in connect:
            endpoints.check(endpoint, to_bind=False)
        if (key is None) != (server is None):
            raise InvalidInputError("key and server go together: our keys, and the public key of the daemon")
        keys = None if key is None or server is None else (KeyPair.read(Path(key)), public_key(server))
        self._notice = notice or (lambda _: None)
        self._inbox = Inbox(self._notice)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.MAXMSGSIZE, _LONGEST_MESSAGE),
            (zmq.RECONNECT_IVL, _RECONNECT_MS),
            (zmq.RECONNECT_IVL_MAX, _RECONNECT_AT_MOST_MS),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE_WITHIN_MS),
            (zmq.HEARTBEAT_IVL, _PING_EVERY_MS),
            (zmq.HEARTBEAT_TIMEOUT, 3 * _PING_EVERY_MS),
        ):
            self._socket.setsockopt(option, value)
        if keys is not None:
            own, theirs = keys
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public.encode())
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret.encode())
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, theirs.encode())
        for topic in topics:
            self._socket.setsockopt_string(zmq.SUBSCRIBE, topic)
        self._links = Links(self._socket, keys=keys is not None)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._links.monitor, zmq.POLLIN)
        self._retries: dict[str, float] = {}
        self._heard_at = -_QUIET_AFTER_SECONDS
        for endpoint in connect:
            endpoints.connect(self._socket, endpoint)
            self._links.by_endpoint[endpoint] = Link(endpoint, "connecting")

    @property
    def lost(self) -> int:
        """Messages that were published and did not reach this subscriber, told by holes in their sequences."""
        return self._inbox.lost

    @property
    def links(self) -> tuple[Link, ...]:
        """How each endpoint stood when a message was waited for last."""
        return tuple(self._links.by_endpoint.values())

    @property
    def condition(self) -> Condition:
        """Why nothing comes, if nothing does; as of the last time that a message was waited for."""
        states = {link.state for link in self.links}
        if time.monotonic() - self._heard_at < _QUIET_AFTER_SECONDS:
            return "receiving"
        if "connected" in states:
            return "quiet"
        return "not allowed" if "refused" in states else "no publisher"

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message; None where none came within `seconds`."""
        end = None if seconds is None else time.monotonic() + seconds
        while (message := self._next()) is None and (wait := self._seconds_to_wait(end)) != 0:
            self._poller.poll(None if wait is None else math.ceil(1000 * wait))
        return message

    async def receive_async(self, seconds: float | None = None) -> Message | None:
        """The same in asyncio: other tasks run while this one waits."""
        end = None if seconds is None else time.monotonic() + seconds
        while (message := self._next()) is None and (wait := self._seconds_to_wait(end)) != 0:
            await self._readable(wait)
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
        """Disconnect."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Message | None:
        """What has come already."""
        self._follow_links()
        while True:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            self._heard_at = time.monotonic()
            message = self._inbox.take(parts)
            if message is not None:
                return message

    def _follow_links(self) -> None:
        for link in self._links.changes():
            if link.state == "refused":
                self._retries[link.endpoint] = time.monotonic() + _AFTER_REFUSAL_SECONDS
            else:
                self._retries.pop(link.endpoint, None)
            self._notice(link)
        now = time.monotonic()
        for endpoint in [endpoint for endpoint, due in self._retries.items() if due <= now]:
            self._retries[endpoint] = now + _AFTER_REFUSAL_SECONDS
            self._connect_anew(endpoint)

    def _connect_anew(self, endpoint: str) -> None:
        with contextlib.suppress(zmq.ZMQError):  # libzmq has let go of it already
            self._socket.disconnect(endpoint)
        endpoints.connect(self._socket, endpoint)

    def _seconds_to_wait(self, end: float | None) -> float | None:
        """Until something is to be done: 0 where the time is over, None for ever."""
        now = time.monotonic()
        if end is not None and end <= now:
            return 0
        until = min((at for at in (end, *self._retries.values()) if at is not None), default=None)
        return None if until is None else max(0.001, until - now)

    async def _readable(self, seconds: float | None) -> None:
        """Wait until something may have come; libzmq's descriptors tell once, and `_next` takes all that is there."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        descriptors = [int(socket.getsockopt(zmq.FD)) for socket in (self._socket, self._links.monitor)]
        for descriptor in descriptors:
            loop.add_reader(descriptor, ready.set)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ready.wait(), seconds)
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
