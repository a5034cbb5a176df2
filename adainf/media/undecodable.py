"""Pictures and frames that cannot be decoded: how they are refused, and how they are named where others are not."""

from collections.abc import Sequence
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError, printable
from adainf.base.output import say

__all__ = ["LONGEST_NAME", "PassedOver", "Undecodable", "UndecodableError", "none_left"]

LONGEST_NAME = 100
"""Characters of a file's name in a line or message."""

_MOST_TOLD = 100


class UndecodableError(InvalidInputError):
    """The picture `origin` cannot be read or decoded; `why`, in a few words."""

    def __init__(self, origin: object, why: str) -> None:
        super().__init__(f"image {printable(str(origin), LONGEST_NAME)}: {why}")
        self.origin = origin
        self.why = why


@dataclass(frozen=True, slots=True)
class Undecodable:
    """So many frames or pictures, which `what` names, were passed over; why, in a few words."""

    what: str
    why: str
    frames: int = 1


def none_left(images: object, failed: Sequence[UndecodableError]) -> InvalidInputError:
    """The refusal of pictures none of which can be decoded."""
    return InvalidInputError(f"images {images}: none of {len(failed)} pictures can be decoded; the first {failed[0]}")


class PassedOver:
    """What was passed over while a command went on with the rest: each is told once, on stderr, and all are counted."""

    def __init__(self, *, silent: bool = False) -> None:
        """silent: another process of the same command tells."""
        self._silent = silent
        self._names: set[str] = set()

    def note(self, *failed: UndecodableError) -> None:
        """These cannot be used."""
        for error in failed:
            name = str(error.origin)
            if name in self._names:
                continue
            self._names.add(name)
            if not self._silent and len(self._names) <= _MOST_TOLD:
                more = "; further ones are only counted" if len(self._names) == _MOST_TOLD else ""
                say(f"adainf: {error}; passed over{more}")

    def __iadd__(self, other: "PassedOver") -> "PassedOver":
        self._names |= other._names
        return self

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._names)

    def tell(self) -> None:
        """Say on stderr how many there are, where there are any."""
        if self.count:
            say(f"adainf: {self.count} pictures or frames that cannot be decoded passed over")

    def __str__(self) -> str:
        """What follows the number of those that were used: nothing where none was passed over."""
        return f" ({self.count} that cannot be decoded passed over)" if self.count else ""
