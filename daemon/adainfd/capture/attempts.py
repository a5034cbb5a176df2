"""What a camera's process is at, in memory that outlives it: so the daemon knows what it died of."""

import mmap
import os
from collections.abc import Callable, Iterable
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.undecodable import Undecodable

__all__ = ["DEADLY", "Attempts"]

DEADLY = "the camera's process ended on it"
"""Why a picture is left alone that was decoded as its process ended."""

_COUNTS = 3
_COUNT_BYTES = 8
_LENGTH_BYTES = 4
_MOST_BYTES = 4096
_OFFSET = _COUNTS * _COUNT_BYTES
_SIZE = _OFFSET + _LENGTH_BYTES + _MOST_BYTES


class Attempts:
    """The picture that is being decoded, and frames that were counted and not told of yet.

    Written by the camera's process and read by the daemon when that has ended. There is no lock: one writes, and the
    other looks when nobody writes any more. It travels to a process that is being started, and to no other.
    """

    def __init__(self, deadly: Iterable[str] = (), descriptor: int | None = None) -> None:
        """deadly: what earlier processes died of. descriptor: of the memory, which belongs to this object from now on;
        without one, only this process sees it."""
        self.deadly = set(deadly)
        self._descriptor = descriptor
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, _SIZE)
        self._counts: NDArray[np.int64] = np.ndarray(_COUNTS, np.int64, self._memory)

    @classmethod
    def shared(cls, deadly: Iterable[str]) -> "Attempts":
        """With memory that travels to the process it is given to."""
        descriptor = os.memfd_create("adainf-attempts")
        os.ftruncate(descriptor, _SIZE)
        return cls(deadly, descriptor)

    def __reduce__(self) -> tuple[Callable[..., "Attempts"], tuple[Any, ...]]:
        if self._descriptor is None:
            raise TypeError("only shared memory travels")
        return _rebuilt, (tuple(self.deadly), DupFd(self._descriptor))

    def begin(self, what: str, identity: str = "") -> None:
        """From now on `what` is being decoded; identity: what tells it from another of that name."""
        text = f"{what}\0{identity}".encode("utf-8", "surrogatepass")[: _MOST_BYTES - 1]
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
        length = int.from_bytes(self._memory[_OFFSET:start], "little")
        return None if length == 0 else self._memory[start : start + length - 1].decode("utf-8", "backslashreplace")

    def note_deadly(self) -> Undecodable | None:
        """What its process ended on is left alone from now on; None where it ended between two pictures."""
        begun = self.begun
        if begun is None:
            return None
        self.deadly.add(begun)
        return Undecodable(begun.partition("\0")[0], DEADLY)

    def is_deadly(self, what: str, identity: str = "") -> bool:
        """Whether an earlier process ended on it."""
        return f"{what}\0{identity}" in self.deadly

    def count(self, *, over_rate: int = 0, newer_frame: int = 0, undecodable: int = 0) -> None:
        """So many frames more were captured and passed over."""
        self._counts += (over_rate, newer_frame, undecodable)

    def take_counts(self) -> tuple[int, int, int]:
        """Over the rate, passed over for a newer one, undecodable: those that were not taken before."""
        over_rate, newer_frame, undecodable = self._counts.tolist()
        self._counts[:] = 0
        return over_rate, newer_frame, undecodable

    def close(self) -> None:
        """Let go of the memory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        del self._counts, self._memory


def _rebuilt(deadly: tuple[str, ...], descriptor: Any) -> Attempts:
    return Attempts(deadly, descriptor.detach())
