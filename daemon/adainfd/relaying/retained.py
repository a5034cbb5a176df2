"""What a broker keeps in our name: what it is to keep, and what an earlier run has left there."""

from collections import defaultdict
from collections.abc import Callable

import msgspec

from adainfd.relaying import homeassistant
from adainfd.relaying.topics import Place, Topics

__all__ = ["Retained"]

_NOTHING = b""
"""As a payload it has the broker forget the topic."""


class Retained:
    """Payloads by topic. Whatever is new waits until the broker takes it; after a reconnect all of it does."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._told: dict[str, bytes] = {}
        self._due: dict[str, None] = {}
        self._places: defaultdict[str, dict[str, Place]] = defaultdict(dict)

    def keep(self, topic: str, payload: bytes) -> None:
        """Have the broker keep it."""
        if self._told.get(topic) != payload:
            self._told[topic] = payload
            self._due[topic] = None
            self._note(topic, payload)

    def clear(self, topic: str) -> None:
        """Have the broker forget it."""
        self.keep(topic, _NOTHING)
        self._forget(topic)

    def found(self, topic: str, payload: bytes) -> None:
        """The broker keeps this, perhaps from an earlier run; what belongs to other programs is none of ours."""
        place = self._topics.place(topic)
        if topic not in self._told and (place is None or _is_ours(place, payload)):
            self._note(topic, payload)

    def again(self, topic: str) -> None:
        """The broker was told otherwise by somebody else."""
        if topic in self._told:
            self._due[topic] = None

    def all_again(self) -> None:
        """The broker may have lost all of it."""
        self._due = dict.fromkeys(self._told)

    def leave_alone(self, host: str) -> None:
        """Another relay speaks for the host: what is kept of it is none of ours any more."""
        for topic in self._places.pop(host, {}):
            self._told.pop(topic, None)
            self._due.pop(topic, None)

    def send(self, publish: Callable[[str, bytes], bool]) -> None:
        """Publish what waits, until `publish` refuses."""
        while self._due:
            topic = next(iter(self._due))
            if not publish(topic, self._told[topic]):
                return
            del self._due[topic]
            if not self._told[topic]:
                del self._told[topic]

    def of(self, host: str) -> dict[str, Place]:
        """The topics that speak of a host, with what they speak of."""
        return dict(self._places.get(host, {}))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it speaks of; `available` alone, unless we have said it, may be another program's."""
        return tuple(
            host
            for host, places in self._places.items()
            if any(place.kind != "available" or topic in self._told for topic, place in places.items())
        )

    def _note(self, topic: str, payload: bytes) -> None:
        if not payload:
            return
        place = self._topics.place(topic)
        if place is None and (read := homeassistant.state_topic(payload)) is not None:
            place = self._topics.place(read)
            place = None if place is None else place._replace(kind="discovery")
        if place is not None:
            self._forget(topic)  # an earlier version may have had it speak of another host
            self._places[place.host][topic] = place

    def _forget(self, topic: str) -> None:
        for places in self._places.values():
            places.pop(topic, None)


def _is_ours(place: Place, payload: bytes) -> bool:
    """Whether a relay has written it: with a prefix such as `home`, others may use the same topics."""
    if place.kind == "available":
        return payload in (homeassistant.ONLINE, homeassistant.OFFLINE)
    try:
        told = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return False
    if not isinstance(told, dict):
        return False
    if place.kind == "present":
        return told.keys() == {"labels"}
    return str(told.get("schema")).startswith("adainf.status/")
