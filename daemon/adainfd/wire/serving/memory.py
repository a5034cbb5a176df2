"""Memory that libzmq has freed, returned to the operating system."""

import ctypes

__all__ = ["GiveBack"]

_AFTER_SECONDS, _EVERY_SECONDS = 0.5, 5.0


class GiveBack:
    """Trims the heap of glibc, which keeps freed memory; other C libraries return it by themselves."""

    def __init__(self) -> None:
        self.due: float | None = None
        """Monotonic time at which `turn` has work to do; None if it has none."""
        self._done_at = -_EVERY_SECONDS
        self._more = False

    def soon(self, now: float) -> None:
        """Schedule a trim: memory was freed, and more may be in a moment."""
        self._more = True
        self.due = max(now + _AFTER_SECONDS, self._done_at + _EVERY_SECONDS)

    def turn(self, now: float) -> None:
        """Trim if it is time, and once more later, when a busy program has freed the rest."""
        if self.due is not None and now >= self.due:
            self.due, self._done_at = now + _EVERY_SECONDS if self._more else None, now
            self._more = False
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
