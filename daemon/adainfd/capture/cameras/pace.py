"""A camera's frame interval, independent of how many frames are processed."""

import statistics
from collections import deque

__all__ = ["Pace"]

_REMEMBERED = 9


class Pace:
    """A running estimate of the frame interval; the median absorbs occasional pauses."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._passed = 0
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)

    def passed(self, frames: int) -> None:
        """Record frames that were captured and passed over."""
        self._passed += frames

    def came(self, at: float) -> None:
        """Record a delivered frame. at: monotonic seconds."""
        if self._at is not None and at > self._at:
            self._intervals.append((at - self._at) / (1 + self._passed))
        self._at, self._passed = at, 0

    @property
    def interval(self) -> float | None:
        """The median of the recent frame intervals, in seconds; None before the second frame."""
        return statistics.median(self._intervals) if self._intervals else None
