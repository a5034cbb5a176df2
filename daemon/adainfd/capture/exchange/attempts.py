"""What a camera process is decoding, in shared memory that outlives it, so the daemon knows what killed it."""

import mmap
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import printable
from adainf.media.undecodable import LONGEST_NAME, Undecodable
from adainfd.capture.exchange import memory

__all__ = ["DEADLY", "Attempts", "attempts_memory"]

DEADLY = "the camera's process ended on it"
"""The reason given for passing over a picture whose decoding ended an earlier process."""

_COUNTS = 3
_COUNT_BYTES = 8
_LENGTH_BYTES = 4
_MOST_BYTES = 1024
_OFFSET = _COUNTS * _COUNT_BYTES
_SIZE = _OFFSET + _LENGTH_BYTES + _MOST_BYTES
_MOST_COUNTED = 10**9
_MOST_DEADLY = 1000


def attempts_memory() -> int:
    """Return the descriptor of shared memory for one process's attempts; raise OSError if memory is short."""
    return memory.sealed("adainf-attempts", _SIZE)


class Attempts:
    """The picture being decoded, and counts of frames not reported yet.

    The camera process writes, and the daemon reads once that process has ended, so there is no lock. A compromised
    process may have written anything: every value read here is bounded.
    """

    def __init__(self, deadly: Iterable[str] = (), descriptor: int | None = None) -> None:
        """deadly: pictures that ended earlier processes. descriptor: of `attempts_memory`, or None for private memory.

        The descriptor stays the caller's to close.
        """
        self.deadly = set(deadly)
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self._counts: NDArray[np.int64] = np.ndarray(_COUNTS, np.int64, self._memory)

    def begin(self, what: str, identity: str = "") -> None:
        """Record that `what` is being decoded. identity: distinguishes it from others of the same name."""
        text = _encoded(what, identity)
        self._write_length(0)
        self._memory[_OFFSET + _LENGTH_BYTES : _OFFSET + _LENGTH_BYTES + len(text)] = text
        self._write_length(len(text) + 1)

    def done(self) -> None:
        """Record that decoding is over."""
        self._write_length(0)

    def _write_length(self, length: int) -> None:
        self._memory[_OFFSET : _OFFSET + _LENGTH_BYTES] = length.to_bytes(_LENGTH_BYTES, "little")

    @property
    def begun(self) -> str | None:
        """The picture being decoded, or being decoded when the process ended; None between two pictures."""
        start = _OFFSET + _LENGTH_BYTES
        length = min(int.from_bytes(self._memory[_OFFSET:start], "little"), _MOST_BYTES)
        return None if length == 0 else _decoded(self._memory[start : start + length - 1])

    def note_deadly(self) -> Undecodable | None:
        """Mark the picture the process ended on as deadly, and return it; None if it ended between two pictures."""
        begun = self.begun
        if begun is None:
            return None
        if len(self.deadly) < _MOST_DEADLY:
            self.deadly.add(begun)
        return Undecodable(printable(begun.partition("\0")[0], LONGEST_NAME), DEADLY)

    def is_deadly(self, what: str, identity: str = "") -> bool:
        """Return whether an earlier process ended while decoding this picture."""
        return _decoded(_encoded(what, identity)) in self.deadly

    def count(self, *, over_rate: int = 0, newer_frame: int = 0, undecodable: int = 0) -> None:
        """Add frames that were captured and passed over."""
        self._counts += (over_rate, newer_frame, undecodable)

    def take_counts(self) -> tuple[int, int, int]:
        """Return and reset the counts: over the rate, superseded by a newer frame, undecodable."""
        over_rate, newer_frame, undecodable = (min(max(0, count), _MOST_COUNTED) for count in self._counts.tolist())
        self._counts[:] = 0
        return over_rate, newer_frame, undecodable

    def close(self) -> None:
        """Release the memory."""
        del self._counts, self._memory


def _encoded(name: str, identity: str) -> bytes:
    return f"{name}\0{identity}".encode("utf-8", "surrogatepass")[: _MOST_BYTES - 1]


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
