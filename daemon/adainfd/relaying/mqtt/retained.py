"""Retained messages at a broker: those that it should keep, and those that an earlier run has left there."""

from collections import defaultdict
from collections.abc import Callable

import msgspec

from adainfd.relaying.mqtt import homeassistant
from adainfd.relaying.mqtt.topics import Place, Topics
from adainfd.wire.messages import MOST_CAMERAS, MOST_VIEWS

__all__ = ["Retained"]

_NOTHING = b""
"""The payload that has the broker forget a topic."""
_MOST_TOPICS = 2 * MOST_CAMERAS + 5 * MOST_VIEWS
"""Topics per host."""
_MOST_BYTES = 4 << 20
"""Bytes of payloads per host."""
_MOST_FOUND = 50_000
"""Topics of all hosts; any more that earlier runs have left at the broker stay there."""


class Retained:
    """Payloads by topic, queued until the broker takes them: new ones, and all of them after a reconnect.

    Hosts take turns, and each may have as many topics and bytes as any box needs. Topics found at the broker are
    limited too.
    """

    def __init__(self, topics: Topics, discovery: str = "homeassistant") -> None:
        """discovery: the prefix of Home Assistant's topics."""
        self._topics = topics
        self._discovery = discovery
        self._told: dict[str, bytes] = {}
        self._due: dict[str, dict[str, None]] = {}
        self._places: dict[str, dict[str, Place]] = {}
        self._host_of: dict[str, str] = {}
        self._bytes: defaultdict[str, int] = defaultdict(int)

    def keep(self, topic: str, payload: bytes) -> bool:
        """Have the broker retain the payload; return False where the topic's host would exceed its limits."""
        before = self._told.get(topic)
        if before == payload:
            return True
        place = self._place(topic, payload) if payload else None
        if place is not None and not self._has_room(place.host, topic, len(payload)):
            return False
        self._tell(topic, payload)
        if place is not None:
            self._note(topic, place)
            self._bytes[place.host] += len(payload)
        self._put_off(topic)
        return True

    def clear(self, topic: str) -> None:
        """Have the broker forget the topic."""
        self._tell(topic, _NOTHING)
        self._put_off(topic)
        self._forget(topic)

    def found(self, topic: str, payload: bytes) -> None:
        """Adopt a message that the broker retains, perhaps from an earlier run; ignore those of other programs."""
        if topic in self._told or topic in self._host_of or len(self._host_of) >= _MOST_FOUND:
            return
        if len(payload) > _MOST_BYTES or not (place := self._place(topic, payload)):
            return
        if (place.kind == "discovery" or _is_ours(place, payload)) and self._has_room(place.host, topic, 0):
            self._note(topic, place)

    def again(self, topic: str) -> None:
        """Queue a topic again, after another client has changed it at the broker."""
        if topic in self._told:
            self._put_off(topic)

    def all_again(self) -> None:
        """Queue every topic again: the broker may have lost them."""
        self._due.clear()
        for topic in self._told:
            self._put_off(topic)

    def leave_alone(self, host: str) -> None:
        """Drop a host for which another relay speaks, and leave its retained messages to that relay."""
        for topic in tuple(self._places.get(host, ())):
            self._forget(topic)
            self._told.pop(topic, None)
        self._due.pop(host, None)
        self._bytes.pop(host, None)

    def send(self, publish: Callable[[str, bytes], bool]) -> None:
        """Publish queued topics, one of each host in turn, until `publish` returns False."""
        while self._due:
            host = next(iter(self._due))
            topic = next(iter(self._due[host]))
            payload = self._told.get(topic)  # None where it was sent under another host
            if payload is not None and not publish(topic, payload):
                return
            waiting = self._due.pop(host)
            del waiting[topic]
            if waiting:
                self._due[host] = waiting
            if payload == _NOTHING:
                del self._told[topic]

    @property
    def waits(self) -> bool:
        """Whether any topic is queued."""
        return bool(self._due)

    def of(self, host: str) -> dict[str, Place]:
        """Return the topics about a host, each with its place."""
        return dict(self._places.get(host, {}))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts with retained messages; a sole `available` that we have not sent may be another program's."""
        return tuple(
            host
            for host, places in self._places.items()
            if any(place.kind != "available" or topic in self._told for topic, place in places.items())
        )

    def _tell(self, topic: str, payload: bytes) -> None:
        if (host := self._host_of.get(topic)) is not None:
            self._bytes[host] -= len(self._told.get(topic, b""))
        self._told[topic] = payload

    def _put_off(self, topic: str) -> None:
        host = self._host_of.get(topic, "")
        self._due.setdefault(host, {})[topic] = None

    def _has_room(self, host: str, topic: str, size: int) -> bool:
        before = len(self._told.get(topic, b""))
        topics = self._places.get(host, {})
        fits = size <= before or self._bytes[host] - before + size <= _MOST_BYTES
        return fits and (topic in topics or len(topics) < _MOST_TOPICS)

    def _place(self, topic: str, payload: bytes) -> Place | None:
        """Return a topic's place; for a Home Assistant discovery topic, the place of its entity's state topic."""
        if not homeassistant.is_discovery(topic, self._discovery):
            return self._topics.place(topic)
        read = homeassistant.state_topic(payload)
        place = None if read is None else self._topics.place(read)
        return None if place is None else place._replace(kind="discovery")

    def _note(self, topic: str, place: Place) -> None:
        if self._host_of.get(topic) != place.host:
            self._forget(topic)  # an earlier version may have used it for another host
        self._places.setdefault(place.host, {})[topic] = place
        self._host_of[topic] = place.host

    def _forget(self, topic: str) -> None:
        host = self._host_of.pop(topic, None)
        if host is not None:
            del self._places[host][topic]
            if not self._places[host]:
                del self._places[host]
                self._bytes.pop(host, None)


def _is_ours(place: Place, payload: bytes) -> bool:
    """Return whether a relay wrote the payload: with a prefix such as `home`, other programs may share the topics."""
    if place.kind == "available":
        return payload in (homeassistant.ONLINE, homeassistant.OFFLINE)
    try:
        content = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    if place.kind == "present":
        return content.keys() == {"labels"}
    return str(content.get("schema")).startswith(f"adainf.{place.kind}/")
