"""MQTT topics: those of the stream below a prefix, and whether who says it is still there."""

import re
from dataclasses import dataclass

from adainfd.wire.messages import Event, Message

__all__ = ["Topics"]

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Topics:
    """prefix: before each of them. name: of this relay."""

    prefix: str
    name: str

    def of(self, message: Message) -> str:
        """Where a message goes: PREFIX/KIND/HOST or PREFIX/KIND/HOST/CAMERA."""
        kind = message.schema.partition("/")[0].removeprefix("adainf.")
        return "/".join(filter(None, (self.prefix, kind, message.host, message.camera)))

    def may_carry(self, message: Message) -> bool:
        """Whether the names in a message may stand in a topic; a box's own always may."""
        names = message.host, message.camera, getattr(message, "region", None)
        return all(_NAME.fullmatch(name) for name in names if name is not None)

    def present(self, event: Event) -> str:
        """Where stands which labels are there: PREFIX/present/HOST/CAMERA, or …/CAMERA/REGION."""
        return "/".join(filter(None, (self.prefix, "present", event.host, event.camera, event.region)))

    def box(self, host: str) -> str:
        """Where stands whether a box is `online` or `offline`."""
        return f"{self.prefix}/available/{host}"

    @property
    def relay(self) -> str:
        """Where stands whether this relay is `online` or `offline`."""
        return f"{self.prefix}/relay/{self.name}"
