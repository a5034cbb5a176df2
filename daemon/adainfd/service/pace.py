"""A bound on the share of a processor that one thread takes."""

import time
from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """Tells its thread how long to wait, so that it uses `share` of a processor on average."""

    def __init__(
        self,
        share: float,
        at_once: float,
        used: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """at_once: seconds of processor time that may be used without a wait. used: those until now, of this thread."""
        self._share, self._at_once = share, at_once
        self._used, self._clock = used, clock
        self._left = at_once
        self._used_before, self._before = used(), clock()

    def seconds_to_wait(self) -> float:
        """For how long to do nothing new."""
        used, now = self._used(), self._clock()
        self._left += self._share * (now - self._before) - (used - self._used_before)
        self._left = min(self._left, self._at_once)
        self._used_before, self._before = used, now
        return max(0.0, -self._left / self._share)
