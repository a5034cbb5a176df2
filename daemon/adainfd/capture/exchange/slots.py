"""Frames in shared memory: a ring of slots in which the writer never waits for the reader."""

import mmap

import numpy as np
from numpy.typing import NDArray

from adainfd.capture.exchange import memory

__all__ = ["FrameSlots", "Shape", "frames_memory"]

Shape = tuple[int, int, int]
"""Height, width and channels of a picture."""

_SLOTS = 4
_CHANNELS = 3
_STAMPS_BYTES = mmap.PAGESIZE
_BEING_WRITTEN = 0


def frames_memory(most_pixels: int) -> int:
    """The descriptor of memory for slots of so many pixels each; raises OSError where there is not enough memory."""
    return memory.sealed("adainf-frames", _STAMPS_BYTES + _SLOTS * _slot_bytes(most_pixels))


def _slot_bytes(most_pixels: int) -> int:
    return -(-most_pixels * _CHANNELS // mmap.PAGESIZE) * mmap.PAGESIZE


class FrameSlots:
    """A ring of pictures of one shape. Frame n lies in slot n mod 4 until frame n + 4 overwrites it.

    There is no lock, so that a process that dies leaves none held: each slot carries the number of its frame,
    0 while it is written, and a reader checks after reading that the number is still the one it came for. The memory
    has no name either: it is gone with the last process that has it open, however that ends.
    """

    def __init__(self, descriptor: int, most_pixels: int, shape: Shape = (1, 1, _CHANNELS)) -> None:
        """descriptor: of `frames_memory` for so many pixels, which stays the caller's.

        Raises OSError where there is not enough memory.
        """
        self._slot_bytes = _slot_bytes(most_pixels)
        self._memory = mmap.mmap(descriptor, _STAMPS_BYTES + _SLOTS * self._slot_bytes)
        self._stamps: NDArray[np.uint64] = np.ndarray(_SLOTS, np.uint64, self._memory)
        self.shape = shape

    def fit(self, shape: Shape) -> None:
        """From now on write pictures of this shape; what lies in the slots is gone, and the memory it took is free."""
        self._stamps[:] = _BEING_WRITTEN
        self._memory.madvise(mmap.MADV_REMOVE, _STAMPS_BYTES, _SLOTS * self._slot_bytes)
        self.shape = shape

    def _picture(self, number: int) -> NDArray[np.uint8]:
        at = _STAMPS_BYTES + number % _SLOTS * self._slot_bytes
        return np.ndarray(self.shape, np.uint8, self._memory, offset=at)

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Put frame `number` (from 1) into its slot."""
        self.emptied(number)[:] = picture
        self.filled(number)

    def emptied(self, number: int) -> NDArray[np.uint8]:
        """The slot of frame `number` (from 1), to be written to; say `filled` then."""
        self._stamps[number % _SLOTS] = _BEING_WRITTEN
        return self._picture(number)

    def filled(self, number: int) -> None:
        """Frame `number` is whole in its slot."""
        self._stamps[number % _SLOTS] = number

    def view(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` where it lies; ask `holds` after using it."""
        return self._picture(number)

    def holds(self, number: int) -> bool:
        """Whether frame `number` is still whole in its slot."""
        return bool(self._stamps[number % _SLOTS] == number)

    def close(self) -> None:
        """Let go of the memory; a view that is still held keeps it a little longer."""
        del self._stamps, self._memory
