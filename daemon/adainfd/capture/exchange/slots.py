"""Frames in shared memory: a ring of slots whose writer never waits for the reader."""

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
    """Return the descriptor of shared memory for slots of `most_pixels` each; raise OSError if memory is short."""
    return memory.sealed("adainf-frames", _STAMPS_BYTES + _SLOTS * _slot_bytes(most_pixels))


def _slot_bytes(most_pixels: int) -> int:
    return -(-most_pixels * _CHANNELS // mmap.PAGESIZE) * mmap.PAGESIZE


class FrameSlots:
    """A ring of pictures of one shape. Frame n is in slot n mod 4 until frame n + 4 overwrites it.

    There is no lock that a dying process could leave held. Instead, each slot is stamped with its frame's number, or 0
    while it is being written; after reading, the reader checks that the number is unchanged. The memory has no name
    either: it is freed with the last process that has it open, however that ends.
    """

    def __init__(self, descriptor: int, most_pixels: int, shape: Shape = (1, 1, _CHANNELS)) -> None:
        """descriptor: of `frames_memory` for the same number of pixels; stays the caller's to close.

        Raises OSError if memory is short.
        """
        self._slot_bytes = _slot_bytes(most_pixels)
        self._memory = mmap.mmap(descriptor, _STAMPS_BYTES + _SLOTS * self._slot_bytes)
        self._stamps: NDArray[np.uint64] = np.ndarray(_SLOTS, np.uint64, self._memory)
        self.shape = shape

    def fit(self, shape: Shape) -> None:
        """Set the shape of pictures to write; clear the slots and free their pages."""
        self._stamps[:] = _BEING_WRITTEN
        self._memory.madvise(mmap.MADV_REMOVE, _STAMPS_BYTES, _SLOTS * self._slot_bytes)
        self.shape = shape

    def _picture(self, number: int) -> NDArray[np.uint8]:
        at = _STAMPS_BYTES + number % _SLOTS * self._slot_bytes
        return np.ndarray(self.shape, np.uint8, self._memory, offset=at)

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Write frame `number` (from 1) to its slot."""
        self.emptied(number)[:] = picture
        self.filled(number)

    def emptied(self, number: int) -> NDArray[np.uint8]:
        """Mark the slot of frame `number` (from 1) as being written and return it; call `filled` afterwards."""
        self._stamps[number % _SLOTS] = _BEING_WRITTEN
        return self._picture(number)

    def filled(self, number: int) -> None:
        """Mark frame `number` as complete."""
        self._stamps[number % _SLOTS] = number

    def view(self, number: int) -> NDArray[np.uint8]:
        """Return the slot of frame `number` without copying; call `holds` after use."""
        return self._picture(number)

    def holds(self, number: int) -> bool:
        """Return whether the slot still holds the whole of frame `number`."""
        return bool(self._stamps[number % _SLOTS] == number)

    def close(self) -> None:
        """Release the memory; it stays mapped while a view of it is held."""
        del self._stamps, self._memory
