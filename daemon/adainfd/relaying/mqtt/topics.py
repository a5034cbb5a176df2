"""MQTT topics: those of the stream below a prefix, and whether their source is still there."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from adainfd.wire.messages import LONGEST_NAME, Message, topic_of

__all__ = ["Place", "Topics", "fit"]

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}")

_RELAY = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class Place(NamedTuple):
    """What a topic speaks of: a host (`status`, `available`), one of its cameras (`status`), or a view (`present`)."""

    kind: str
    host: str
    camera: str | None = None
    region: str | None = None


def fit(name: str | None) -> bool:
    """Whether a name may stand in a topic; None, for no name, may."""
    return name is None or _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Topics:
    """prefix: before each of them. name: of this relay."""

    prefix: str
    name: str

    def of(self, message: Message) -> str:
        """Where a message goes: PREFIX/KIND/HOST or PREFIX/KIND/HOST/CAMERA."""
        return self._join(topic_of(message))

    def status(self, host: str, camera: str | None = None) -> str:
        """The last status message of a box or of one of its cameras."""
        return self._join("status", host, camera)

    def present(self, host: str, camera: str, region: str | None) -> str:
        """The labels that are there: PREFIX/present/HOST/CAMERA, or …/CAMERA/REGION."""
        return self._join("present", host, camera, region)

    def available(self, host: str) -> str:
        """Whether a box is `online` or `offline`."""
        return self._join("available", host)

    @property
    def relay(self) -> str:
        """Whether this relay is `online` or `offline`."""
        return self._join("relay", self.name)

    @property
    def record(self) -> str:
        """Which hosts this relay speaks for, for its next run and for other relays."""
        return self._join("relay", self.name, "hosts")

    @property
    def kept(self) -> tuple[str, ...]:
        """Subscriptions that bring what the broker keeps below the prefix."""
        return tuple(self._join(level) for level in ("status/#", "present/#", "available/+", "relay/#"))

    def place(self, topic: str) -> Place | None:
        """What a topic below the prefix speaks of; None for any other."""
        kind, *names = topic.removeprefix(f"{self.prefix}/").split("/")
        most = {"status": 2, "present": 3, "available": 1}.get(kind, 0)
        if not topic.startswith(f"{self.prefix}/") or not 1 <= len(names) <= most or not all(map(fit, names)):
            return None
        return Place(kind, *names)

    def other_relay(self, topic: str) -> tuple[str, bool] | None:
        """The name of another relay that a topic is about, and whether it is that relay's record of hosts."""
        match topic.removeprefix(f"{self.prefix}/").split("/"):
            case ["relay", name] if name != self.name and _RELAY.fullmatch(name):
                return name, False
            case ["relay", name, "hosts"] if name != self.name and _RELAY.fullmatch(name):
                return name, True
            case _:
                return None

    def _join(self, *levels: str | None) -> str:
        return "/".join(level for level in (self.prefix, *levels) if level is not None)
