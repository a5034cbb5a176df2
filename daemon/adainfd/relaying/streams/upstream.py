"""A relay's subscriptions at its boxes, on behalf of all its readers."""

import time
from collections.abc import Collection, Iterable

import zmq

from adainfd.base.token_bucket import TokenBucket

__all__ = ["Upstream"]

# A box allows one connection 256 topics, and 64 requests a second.
_TOPICS = 128
_EVERYTHING = b""
_REQUESTS_AT_ONCE, _REQUESTS_A_SECOND = 256, 32.0
_EVERY_SECONDS = 0.1
_SUBSCRIBE, _UNSUBSCRIBE = b"\x01", b"\x00"


class Upstream:
    """Subscribes to the readers' topics at every box; to everything where these are too many for a box."""

    def __init__(self, inlets: "Iterable[zmq.Socket[bytes]]") -> None:
        """inlets: XSUB sockets, one per box."""
        self._inlets = tuple(inlets)
        self._subscribed: set[bytes] = set()
        self._target: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._from = time.monotonic()
        self._requests = TokenBucket(_REQUESTS_AT_ONCE, _REQUESTS_A_SECOND, self._from)

    @property
    def due(self) -> float | None:
        """Monotonic time at which `update` has work to do; None if it has none."""
        return self._from if self._asked or self._target != self._subscribed else None

    def want(self, topics: Collection[bytes], asked: set[bytes]) -> None:
        """Set the readers' topics; asked: those just subscribed to, whose last messages the boxes should send again."""
        self._target = set(topics) if len(topics) <= _TOPICS else {_EVERYTHING}
        self._asked |= asked

    def update(self) -> None:
        """Send changed subscriptions to the boxes, if it is time."""
        now = time.monotonic()
        if self.due is None or now < self._from:
            return
        self._from = now + _EVERY_SECONDS
        self._requests.earn(now)
        new = self._change()
        self._ask_again(new)

    def _change(self) -> set[bytes]:
        """Subscribe and unsubscribe; return the new topics."""
        target = self._target
        if len(target ^ self._subscribed) > self._requests.left:
            # Too many requests for now: subscribe to everything meanwhile, which misses nothing.
            target = self._subscribed | ({_EVERYTHING} if self._target - self._subscribed else set())
        new = target - self._subscribed
        for topic in new:
            self._send(_SUBSCRIBE + topic)
        for topic in self._subscribed - target:
            self._send(_UNSUBSCRIBE + topic)
        self._requests.spend(len(target ^ self._subscribed))
        self._subscribed = target
        return new

    def _ask_again(self, new: set[bytes]) -> None:
        known = {topic if topic in self._subscribed else _EVERYTHING for topic in self._asked}
        self._asked = known & self._subscribed - new
        while self._asked and self._requests.left >= 1:
            topic = self._asked.pop()
            # libzmq counts subscriptions: the second request only restores the count, and is not sent.
            self._send(_SUBSCRIBE + topic)
            self._send(_UNSUBSCRIBE + topic)
            self._requests.spend()

    def _send(self, request: bytes) -> None:
        for inlet in self._inlets:
            inlet.send(request)
