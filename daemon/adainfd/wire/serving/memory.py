"""Memory that libzmq has freed, given back to the system."""

import ctypes

__all__ = ["GiveBack"]

_AFTER_SECONDS, _EVERY_SECONDS = 0.5, 5.0


class GiveBack:
    """glibc keeps what is freed for the next allocation; other C libraries give it back by themselves."""

    def __init__(self) -> None:
        self.due: float | None = None
        """Monotonic time at which `turn` has something to do; None where it has not."""
        self._done_at = -_EVERY_SECONDS
        self._more = False

    def soon(self, now: float) -> None:
        """Something was freed, and more may be in a moment."""
        self._more = True
        self.due = max(now + _AFTER_SECONDS, self._done_at + _EVERY_SECONDS)

    def turn(self, now: float) -> None:
        """Give back, if it is time; and once more later: a busy program frees the last of it only then."""
        if self.due is not None and now >= self.due:
            self.due, self._done_at = now + _EVERY_SECONDS if self._more else None, now
            self._more = False
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
