"""The memory limit of a camera process: enough to decode its largest pictures, and no more."""

import os
import resource

__all__ = ["Allowance"]

# Measured on top of the process's initial size: 39 bytes a pixel for H.264 with 16 reference frames, 30 for 10-bit
# HEVC, 6 to 18 for still pictures.
_BYTES, _BYTES_A_PIXEL, _MOST_BYTES = 256 << 20, 64, 4 << 30
# If an allocation fails while more than a quarter is left, the picture itself was far too large.
_NEARLY_ALL = 0.75


class Allowance:
    """The memory this process may add to its size at construction.

    Limits RLIMIT_AS, since RLIMIT_DATA does not count shared memory.
    """

    def __init__(self, most_pixels: int) -> None:
        """most_pixels: limit on a picture's size. Raises OSError without /proc."""
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)  # kept open: the sandbox may hide /proc
        self._bytes = min(_BYTES + _BYTES_A_PIXEL * most_pixels, _MOST_BYTES)
        self._before = self._size()

    @property
    def limit(self) -> int:
        """The value for RLIMIT_AS, in bytes."""
        return self._before + self._bytes

    @property
    def shortage(self) -> str | None:
        """A message if the allowance is nearly used up at the moment, otherwise None."""
        if self._size() - self._before < _NEARLY_ALL * self._bytes:
            return None
        return f"its process may take {self._bytes / 2**20:.0f} MiB for pictures, and has used them (max_megapixels)"

    def _size(self) -> int:
        return int(os.pread(self._statm, 32, 0).split()[0]) * resource.getpagesize()
