"""Frames in shared memory: a ring of slots in which the writer never waits for the reader."""

import mmap
import os

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameSlots"]

_SLOTS = 4
_STAMP_BYTES = 8
_BEING_WRITTEN = 0


class FrameSlots:
    """A ring of pictures of one shape. Frame n lies in slot n mod 4 until frame n + 4 overwrites it.

    There is no lock, so that a process that dies leaves none held: each slot carries the number of its frame,
    0 while it is written, and a reader checks after reading that the number is still the one it came for. The memory
    has no name either: it is gone with the last process that has it open, however that ends.
    """

    def __init__(self, shape: tuple[int, int, int], descriptor: int | None = None) -> None:
        """shape: height, width, channels. descriptor: of existing slots, which belong to this then; None makes new.

        Raises OSError where there is not enough memory.
        """
        self.shape = shape
        size = _SLOTS * (_STAMP_BYTES + int(np.prod(shape)))
        self.descriptor = os.memfd_create("adainf-frames") if descriptor is None else descriptor
        try:
            if descriptor is None:
                os.ftruncate(self.descriptor, size)
            self._memory = mmap.mmap(self.descriptor, size)
        except OSError:
            os.close(self.descriptor)
            raise
        self._stamps: NDArray[np.uint64] = np.ndarray(_SLOTS, np.uint64, self._memory)
        self._pictures: NDArray[np.uint8] = np.ndarray(
            (_SLOTS, *shape), np.uint8, self._memory, offset=_SLOTS * _STAMP_BYTES
        )

    def write(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Put frame `number` (from 1) into its slot."""
        self.emptied(number)[:] = picture
        self.filled(number)

    def emptied(self, number: int) -> NDArray[np.uint8]:
        """The slot of frame `number` (from 1), to be written to; say `filled` then."""
        self._stamps[number % _SLOTS] = _BEING_WRITTEN
        slot: NDArray[np.uint8] = self._pictures[number % _SLOTS]
        return slot

    def filled(self, number: int) -> None:
        """Frame `number` is whole in its slot."""
        self._stamps[number % _SLOTS] = number

    def view(self, number: int) -> NDArray[np.uint8]:
        """Frame `number` where it lies; ask `holds` after using it."""
        picture: NDArray[np.uint8] = self._pictures[number % _SLOTS]
        return picture

    def holds(self, number: int) -> bool:
        """Whether frame `number` is still whole in its slot."""
        return bool(self._stamps[number % _SLOTS] == number)

    def close(self) -> None:
        """Let go of the memory; a view that is still held keeps it a little longer."""
        os.close(self.descriptor)
        del self._stamps, self._pictures, self._memory
