"""The hosts for which each relay at a broker speaks, so that no relay takes another's box for one that is gone."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from adainfd.relaying.mqtt.homeassistant import ONLINE
from adainfd.relaying.mqtt.topics import Topics, fit

__all__ = ["Relays"]

_LONGEST_RECORD = 1 << 16
_MOST_HOSTS = 1024
"""Hosts of one relay."""
_MOST_RELAYS = 256


class _RelayRecord(msgspec.Struct, frozen=True):
    """A relay's record; hosts: those for which it speaks; boxes: a digest of the addresses that it connects to."""

    hosts: Annotated[list[str], Meta(max_length=_MOST_HOSTS)]
    boxes: Annotated[str, Meta(max_length=100)]


class Relays:
    """This relay and the others at the broker, as known from their retained messages."""

    def __init__(self, topics: Topics, endpoints: Sequence[str]) -> None:
        """endpoints: those of this relay's boxes."""
        self._topics = topics
        self._boxes = hashlib.sha256("\n".join(sorted(endpoints)).encode()).hexdigest()[:8]
        self._others: dict[str, frozenset[str]] = {}
        self._too_many = False
        self._online: set[str] = set()
        self.hosts: set[str] = set()
        """The hosts for which this relay speaks."""
        self.usual = 0
        """The most hosts heard at once, including by an earlier run with the same addresses."""

    @property
    def record(self) -> bytes:
        """The payload of this relay's own record at the broker."""
        return msgspec.json.encode(_RelayRecord(sorted(self.hosts), self._boxes))

    def heard(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Handle a message under any topic, of which relays' own count; retained: the broker kept it from before."""
        if topic == self._topics.record and retained and (record := _read(payload)) is not None:
            self.hosts.update(record.hosts[: _MOST_HOSTS - len(self.hosts)])
            if record.boxes == self._boxes:
                self.usual = max(self.usual, len(record.hosts))
        other = self._topics.other_relay(topic)
        if other is None:
            return
        name, is_record = other
        if name not in self._online | self._others.keys() and len(self._online | self._others.keys()) >= _MOST_RELAYS:
            self._too_many = True
        elif is_record:
            self._others.pop(name, None)
            if (record := _read(payload)) is not None:
                self._others[name] = frozenset(record.hosts)
        elif payload == ONLINE:
            self._online.add(name)
        else:
            self._online.discard(name)

    def another_speaks_for(self, host: str) -> bool:
        """Return whether another relay that is online speaks for the host."""
        return any(host in hosts for name, hosts in self._others.items() if name in self._online)

    def another_may_speak_for(self, host: str) -> bool:
        """Return whether an online relay without a record, such as one of an older version, may speak for the host.

        It may, too, where there are more relays, or more hosts of one, than are remembered: nothing is cleared then.
        """
        return host not in self.hosts and (self._too_many or bool(self._online - self._others.keys()))

    def another_knows(self, host: str) -> bool:
        """Return whether another relay, online or not, has the host in its record."""
        return any(host in hosts for hosts in self._others.values())


def _read(payload: bytes) -> _RelayRecord | None:
    if len(payload) > _LONGEST_RECORD:
        return None
    try:
        record = msgspec.json.decode(payload, type=_RelayRecord)
    except (ValueError, RecursionError):
        return None
    return record if all(map(fit, record.hosts)) else None
