"""Pictures and frames that cannot be decoded: the error for them, and a report of those that were skipped."""

from collections.abc import Sequence
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError, printable
from adainf.base.output import say

__all__ = ["LONGEST_NAME", "PassedOver", "Undecodable", "UndecodableError", "none_left"]

LONGEST_NAME = 100
"""Characters of a file name in a line or message."""

_MOST_TOLD = 100


class UndecodableError(InvalidInputError):
    """The picture `origin` cannot be read or decoded, for the reason `why`, in a few words."""

    def __init__(self, origin: object, why: str) -> None:
        super().__init__(f"image {printable(str(origin), LONGEST_NAME)}: {why}")
        self.origin = origin
        self.why = why


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Frames or pictures that were skipped. what: names them. why: the reason, in a few words. frames: how many."""

    what: str
    why: str
    frames: int = 1


def none_left(images: object, failed: Sequence[UndecodableError]) -> InvalidInputError:
    """Return the error for a set of pictures of which none can be decoded."""
    return InvalidInputError(f"images {images}: none of {len(failed)} pictures can be decoded; the first {failed[0]}")


class PassedOver:
    """Pictures and frames that a command skipped; the first 100 are reported on stderr, once each; all are counted."""

    def __init__(self, *, silent: bool = False) -> None:
        """silent: report nothing, because another process of the same command does."""
        self._silent = silent
        self._names: set[str] = set()

    def note(self, *failed: UndecodableError) -> None:
        """Record and report pictures or frames that cannot be used."""
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
        """The number of skipped pictures and frames."""
        return len(self._names)

    def tell(self) -> None:
        """Report the count on stderr, unless it is zero."""
        if self.count:
            say(f"adainf: {self.count} pictures or frames that cannot be decoded passed over")

    def __str__(self) -> str:
        """Return a suffix for the number of used pictures; empty if none was skipped."""
        return f" ({self.count} that cannot be decoded passed over)" if self.count else ""
