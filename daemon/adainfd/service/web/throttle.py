"""Keeps work below a share of one processor."""

import time
from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """Says how long to wait before more work, so that the work takes at most `share` of a processor on average."""

    def __init__(
        self,
        share: float,
        burst: float,
        used: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """burst: seconds of processor time that may be used without a wait. used: seconds used until now."""
        self._share, self._burst = share, burst
        self._used, self._clock = used, clock
        self._left = burst
        self._used_before, self._before = used(), clock()

    def seconds_to_wait(self) -> float:
        """For how long to begin nothing new."""
        used, now = self._used(), self._clock()
        self._left += self._share * (now - self._before) - (used - self._used_before)
        self._left = min(self._left, self._burst)
        self._used_before, self._before = used, now
        return max(0.0, -self._left / self._share)
