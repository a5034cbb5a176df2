"""A throttle that keeps work below a share of one processor."""

import time
from collections.abc import Callable

__all__ = ["Throttle"]


class Throttle:
    """Computes waits between pieces of work, so that it takes at most `share` of a processor on average."""

    def __init__(
        self,
        share: float,
        burst: float,
        used: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """burst: seconds of processor time usable without a wait. used: returns the processor seconds used so far."""
        self._share, self._burst = share, burst
        self._used, self._clock = used, clock
        self._left = burst
        self._used_before, self._before = used(), clock()

    def seconds_to_wait(self) -> float:
        """Return the seconds for which to begin no new work."""
        used, now = self._used(), self._clock()
        self._left += self._share * (now - self._before) - (used - self._used_before)
        self._left = min(self._left, self._burst)
        self._used_before, self._before = used, now
        return max(0.0, -self._left / self._share)
