"""What a camera's process is at, in memory that outlives it: so the daemon knows what it died of."""

import mmap
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import printable
from adainf.media.undecodable import LONGEST_NAME, Undecodable
from adainfd.capture.exchange import memory

__all__ = ["DEADLY", "Attempts", "attempts_memory"]

DEADLY = "the camera's process ended on it"
"""Why a picture is left alone that was decoded as its process ended."""

_COUNTS = 3
_COUNT_BYTES = 8
_LENGTH_BYTES = 4
_MOST_BYTES = 1024
_OFFSET = _COUNTS * _COUNT_BYTES
_SIZE = _OFFSET + _LENGTH_BYTES + _MOST_BYTES
_MOST_COUNTED = 10**9
_MOST_DEADLY = 1000


def attempts_memory() -> int:
    """The descriptor of memory for the attempts of one process; raises OSError where there is not enough memory."""
    return memory.sealed("adainf-attempts", _SIZE)


class Attempts:
    """The picture that is being decoded, and frames that were counted and not told of yet.

    Written by the camera's process and read by the daemon when that has ended. There is no lock: one writes, and the
    other looks when nobody writes any more. Whoever took the process over may have written anything: what is read
    here is bounded.
    """

    def __init__(self, deadly: Iterable[str] = (), descriptor: int | None = None) -> None:
        """deadly: what earlier processes died of. descriptor: of `attempts_memory`, which stays the caller's; without
        one, only this process sees it."""
        self.deadly = set(deadly)
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self._counts: NDArray[np.int64] = np.ndarray(_COUNTS, np.int64, self._memory)

    def begin(self, what: str, identity: str = "") -> None:
        """From now on `what` is being decoded; identity: what tells it from another of that name."""
        text = _encoded(what, identity)
        self._write_length(0)
        self._memory[_OFFSET + _LENGTH_BYTES : _OFFSET + _LENGTH_BYTES + len(text)] = text
        self._write_length(len(text) + 1)

    def done(self) -> None:
        """It is through."""
        self._write_length(0)

    def _write_length(self, length: int) -> None:
        self._memory[_OFFSET : _OFFSET + _LENGTH_BYTES] = length.to_bytes(_LENGTH_BYTES, "little")

    @property
    def begun(self) -> str | None:
        """What is being decoded, or was when its process ended."""
        start = _OFFSET + _LENGTH_BYTES
        length = min(int.from_bytes(self._memory[_OFFSET:start], "little"), _MOST_BYTES)
        return None if length == 0 else _decoded(self._memory[start : start + length - 1])

    def note_deadly(self) -> Undecodable | None:
        """What its process ended on is left alone from now on; None where it ended between two pictures."""
        begun = self.begun
        if begun is None:
            return None
        if len(self.deadly) < _MOST_DEADLY:
            self.deadly.add(begun)
        return Undecodable(printable(begun.partition("\0")[0], LONGEST_NAME), DEADLY)

    def is_deadly(self, what: str, identity: str = "") -> bool:
        """Whether an earlier process ended on it."""
        return _decoded(_encoded(what, identity)) in self.deadly

    def count(self, *, over_rate: int = 0, newer_frame: int = 0, undecodable: int = 0) -> None:
        """So many frames more were captured and passed over."""
        self._counts += (over_rate, newer_frame, undecodable)

    def take_counts(self) -> tuple[int, int, int]:
        """Over the rate, passed over for a newer one, undecodable: those that were not taken before."""
        over_rate, newer_frame, undecodable = (min(max(0, count), _MOST_COUNTED) for count in self._counts.tolist())
        self._counts[:] = 0
        return over_rate, newer_frame, undecodable

    def close(self) -> None:
        """Let go of the memory."""
        del self._counts, self._memory


def _encoded(what: str, identity: str) -> bytes:
    return f"{what}\0{identity}".encode("utf-8", "surrogatepass")[: _MOST_BYTES - 1]


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
