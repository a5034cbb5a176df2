"""How much memory a camera's process may take: enough for the largest pictures that it decodes, and no more."""

import os
import resource

__all__ = ["Allowance"]

# Measured, above what the process starts with: 39 bytes a pixel for H.264 with 16 frames that it refers to, 30 for HEVC
# of 10 bits, 6 to 18 for pictures.
_BYTES, _BYTES_A_PIXEL, _MOST_BYTES = 256 << 20, 64, 4 << 30
# Who was refused memory by less than a quarter of it was refused a picture far too large.
_NEARLY_ALL = 0.75


class Allowance:
    """The memory of this process, above what it has when this is made. RLIMIT_DATA would not count what is shared."""

    def __init__(self, most_pixels: int) -> None:
        """most_pixels: of a picture. Raises OSError without /proc."""
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)  # later this may be closed
        self._bytes = min(_BYTES + _BYTES_A_PIXEL * most_pixels, _MOST_BYTES)
        self._before = self._size()

    @property
    def limit(self) -> int:
        """For RLIMIT_AS."""
        return self._before + self._bytes

    @property
    def shortage(self) -> str | None:
        """In words, that it is used up at this moment; None where it is not."""
        if self._size() - self._before < _NEARLY_ALL * self._bytes:
            return None
        return f"its process may take {self._bytes / 2**20:.0f} MiB for pictures, and has used them (max_megapixels)"

    def _size(self) -> int:
        return int(os.pread(self._statm, 32, 0).split()[0]) * resource.getpagesize()
