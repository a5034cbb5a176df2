"""Subscriptions, counted and limited for each connection and for all connections together."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from adainfd.base.token_bucket import TokenBucket

__all__ = ["LONGEST_TOPIC", "Excess", "Requests", "too_much"]

LONGEST_TOPIC = 256
_TOPICS_A_CONNECTION, _BYTES_A_CONNECTION = 256, 16 * 1024
# libzmq stores each byte of a topic in a trie node of its own, of about 50 bytes.
_TOPICS, _BYTES_OF_TOPICS = 4096, 96 * 1024
# Enough to change every topic of a connection at once, and then two requests a second for each reader of a relay.
_REQUESTS_AT_ONCE, _REQUESTS_A_SECOND = 1024, 64.0
_SUBSCRIBES, _UNSUBSCRIBES = b"\x01", b"\x00"


Key = TypeVar("Key")
"""The identity of a connection."""


@dataclass(slots=True)
class _Asked:
    """The subscriptions of one connection, and its remaining allowance of requests."""

    requests: TokenBucket
    topics: set[bytes] = field(default_factory=set)
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Excess(Generic[Key]):
    """A connection that exceeds a limit; why: the limit."""

    connection: Key
    why: str


class Requests(Generic[Key]):
    """The subscriptions of all connections; independent of sockets and clocks."""

    def __init__(self) -> None:
        self.wanted: Counter[bytes] = Counter()
        """Number of connections subscribed, by topic."""
        self.count = 0
        """Subscriptions, summed over all connections."""
        self._bytes = 0
        self._asked: dict[Key, _Asked] = {}

    def take(self, connection: Key, request: bytes, now: float) -> Excess[Key] | None:
        """Count a request; return the connection to close for it, if any.

        It is this connection, or the one with the most subscriptions where all together exceed a limit. now: seconds,
        never less than before.
        """
        asked = self._asked.get(connection)
        if asked is None:
            asked = self._asked[connection] = _Asked(TokenBucket(_REQUESTS_AT_ONCE, _REQUESTS_A_SECOND, now))
        asked.requests.earn(now)
        asked.requests.spend()
        kind, topic = request[:1], request[1:]
        if kind == _UNSUBSCRIBES:
            self._remove(asked, topic)
        elif kind == _SUBSCRIBES:
            self._add(asked, topic)
        else:
            return Excess(connection, "it sends something other than subscriptions")
        for why in self._excesses(asked, topic):
            return Excess(connection, why)
        if self.count > _TOPICS or self._bytes > _BYTES_OF_TOPICS:
            greediest = max(self._asked, key=lambda key: self._asked[key].bytes + len(self._asked[key].topics))
            bound = f"{_TOPICS} topics" if self.count > _TOPICS else f"{_BYTES_OF_TOPICS // 1024} KB of topics"
            return Excess(greediest, f"all readers together subscribe to more than {bound}, and this one to the most")
        return None

    def _excesses(self, asked: _Asked, topic: bytes) -> Iterator[str]:
        if len(topic) > LONGEST_TOPIC:
            yield f"a topic of {len(topic)} bytes; at most {LONGEST_TOPIC} are allowed"
        if len(asked.topics) > _TOPICS_A_CONNECTION:
            yield f"it subscribes to more than {_TOPICS_A_CONNECTION} topics"
        if asked.bytes > _BYTES_A_CONNECTION:
            yield f"its topics take more than {_BYTES_A_CONNECTION // 1024} KB together"
        if asked.requests.left < 0:
            yield f"it sends more than {_REQUESTS_A_SECOND:.0f} requests a second"

    def forget(self, connection: Key) -> None:
        """Forget a connection that has ended, and its subscriptions."""
        asked = self._asked.pop(connection, None)
        if asked is not None:
            for topic in [*asked.topics]:
                self._remove(asked, topic)

    def _add(self, asked: _Asked, topic: bytes) -> None:
        if topic not in asked.topics:
            asked.topics.add(topic)
            asked.bytes += len(topic)
            self._bytes += len(topic)
            self.wanted[topic] += 1
            self.count += 1

    def _remove(self, asked: _Asked, topic: bytes) -> None:
        if topic in asked.topics:
            asked.topics.remove(topic)
            asked.bytes -= len(topic)
            self._bytes -= len(topic)
            self.count -= 1
            self.wanted[topic] -= 1
            if not self.wanted[topic]:
                del self.wanted[topic]


def too_much(topics: Iterable[str]) -> str | None:
    """Return why a daemon would close a connection that subscribes to all these topics; None if it would not."""
    requests: Requests[None] = Requests()
    excesses = (requests.take(None, _SUBSCRIBES + topic.encode(), 0.0) for topic in topics)
    return next((excess.why for excess in excesses if excess is not None), None)
