"""Pictures and frames that cannot be decoded: how they are refused, and how they are named where others are not."""

from dataclasses import dataclass

from adainf.errors import InvalidInputError

__all__ = ["Undecodable", "UndecodableError", "printable"]

_SHOWN_NAME = 100
_SHOWN_END = 20


def printable(name: str) -> str:
    """A file's name as it may stand in a line or message, whatever bytes it is made of."""
    text = "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )
    return text if len(text) <= _SHOWN_NAME else f"{text[: _SHOWN_NAME - _SHOWN_END - 1]}…{text[-_SHOWN_END:]}"


class UndecodableError(InvalidInputError):
    """A picture cannot be read or decoded; `why`, in a few words."""

    def __init__(self, origin: object, why: str) -> None:
        super().__init__(f"image {printable(str(origin))}: {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class Undecodable:
    """So many frames or pictures, which `what` names, were passed over; why, in a few words."""

    what: str
    why: str
    frames: int = 1
