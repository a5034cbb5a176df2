"""Which relay speaks for which host at a broker, so that none of them takes another's box for one that is gone."""

import hashlib
from collections.abc import Sequence

import msgspec

from adainfd.relaying.homeassistant import ONLINE
from adainfd.relaying.topics import Topics

__all__ = ["Relays"]


class _Record(msgspec.Struct, frozen=True):
    """hosts: those that a relay speaks for. boxes: a digest of the addresses that it connects to."""

    hosts: list[str]
    boxes: str


class Relays:
    """This relay and the others at the broker, by what they keep there."""

    def __init__(self, topics: Topics, endpoints: Sequence[str]) -> None:
        """endpoints: where this relay's boxes are."""
        self._topics = topics
        self._boxes = hashlib.sha256("\n".join(sorted(endpoints)).encode()).hexdigest()[:8]
        self._others: dict[str, _Record] = {}
        self._online: set[str] = set()
        self.hosts: set[str] = set()
        """Those that this relay speaks for."""
        self.usual = 0
        """How many hosts were heard at once, by an earlier run at the same addresses too."""

    @property
    def record(self) -> bytes:
        """What this relay keeps at the broker about itself."""
        return msgspec.json.encode(_Record(sorted(self.hosts), self._boxes))

    def heard(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Something came under a relay's topic. retained: the broker kept it from before."""
        if topic == self._topics.record and retained and (record := _read(payload)) is not None:
            self.hosts.update(record.hosts)
            if record.boxes == self._boxes:
                self.usual = max(self.usual, len(record.hosts))
        other = self._topics.other_relay(topic)
        if other is None:
            return
        name, is_record = other
        if is_record:
            self._others.pop(name, None)
            if (record := _read(payload)) is not None:
                self._others[name] = record
        elif payload == ONLINE:
            self._online.add(name)
        else:
            self._online.discard(name)

    def another_speaks_for(self, host: str) -> bool:
        """Whether a relay that is there does."""
        return any(host in record.hosts for name, record in self._others.items() if name in self._online)

    def another_may_speak_for(self, host: str) -> bool:
        """Whether there is a relay that does not say for which hosts, as older versions do, and this may be one."""
        return host not in self.hosts and bool(self._online - self._others.keys())

    def another_knows(self, host: str) -> bool:
        """Whether another relay speaks for it when that relay is there."""
        return any(host in record.hosts for record in self._others.values())


def _read(payload: bytes) -> _Record | None:
    try:
        return msgspec.json.decode(payload, type=_Record)
    except (ValueError, RecursionError):
        return None
