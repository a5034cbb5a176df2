"""MQTT topics: those of the stream below a prefix, and those for the availability of boxes and relays."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from adainfd.wire.messages import LONGEST_NAME, Message, topic_of

__all__ = ["Place", "Topics", "fit"]

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}")

_RELAY = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class Place(NamedTuple):
    """The subject of a topic.

    That is a host (`status`, `available`), one of its cameras (`status`), or a view (`present`, `state`).
    """

    kind: str
    host: str
    camera: str | None = None
    region: str | None = None


def fit(name: str | None) -> bool:
    """Return whether a name is valid as a topic level; None, for no name, is."""
    return name is None or _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one relay; prefix: precedes each topic; name: the relay's."""

    prefix: str
    name: str

    def of(self, message: Message) -> str:
        """Return the topic of a message: PREFIX/ and the topic under which the box published it."""
        return self._join(topic_of(message))

    def status(self, host: str, camera: str | None = None) -> str:
        """Return the topic of the last status message of a box or of one of its cameras."""
        return self._join("status", host, camera)

    def present(self, host: str, camera: str, region: str | None) -> str:
        """Return the topic of the labels present in a view: PREFIX/present/HOST/CAMERA, or …/CAMERA/REGION."""
        return self._join("present", host, camera, region)

    def state(self, host: str, camera: str, region: str | None) -> str:
        """Return the topic of a view's state: PREFIX/state/HOST/CAMERA, or …/CAMERA/REGION."""
        return self._join("state", host, camera, region)

    def available(self, host: str) -> str:
        """Return the topic that says whether a box is `online` or `offline`."""
        return self._join("available", host)

    @property
    def relay(self) -> str:
        """The topic that says whether this relay is `online` or `offline`."""
        return self._join("relay", self.name)

    @property
    def record(self) -> str:
        """The topic that lists the hosts for which this relay speaks, for its next run and for other relays."""
        return self._join("relay", self.name, "hosts")

    @property
    def kept(self) -> tuple[str, ...]:
        """Subscriptions to everything that the broker retains below the prefix."""
        return tuple(self._join(level) for level in ("status/#", "present/#", "state/#", "available/+", "relay/#"))

    def place(self, topic: str) -> Place | None:
        """Return the subject of a topic below the prefix; None for any other topic."""
        kind, *names = topic.removeprefix(f"{self.prefix}/").split("/")
        most = {"status": 2, "present": 3, "state": 3, "available": 1}.get(kind, 0)
        if not topic.startswith(f"{self.prefix}/") or not 1 <= len(names) <= most or not all(map(fit, names)):
            return None
        return Place(kind, *names)

    def other_relay(self, topic: str) -> tuple[str, bool] | None:
        """Return the other relay that a topic is about, and whether the topic is that relay's record of hosts."""
        match topic.removeprefix(f"{self.prefix}/").split("/"):
            case ["relay", name] if name != self.name and _RELAY.fullmatch(name):
                return name, False
            case ["relay", name, "hosts"] if name != self.name and _RELAY.fullmatch(name):
                return name, True
            case _:
                return None

    def _join(self, *levels: str | None) -> str:
        return "/".join(level for level in (self.prefix, *levels) if level is not None)
