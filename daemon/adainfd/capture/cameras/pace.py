"""How often a camera's frames come, whoever is there to take them."""

import statistics
from collections import deque

__all__ = ["Pace"]

_REMEMBERED = 9


class Pace:
    """Is told each frame that comes; a pause among many frames does not count."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._passed = 0
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)

    def passed(self, frames: int) -> None:
        """So many came and were passed over."""
        self._passed += frames

    def came(self, at: float) -> None:
        """One came, monotonic seconds."""
        if self._at is not None and at > self._at:
            self._intervals.append((at - self._at) / (1 + self._passed))
        self._at, self._passed = at, 0

    @property
    def interval(self) -> float | None:
        """Seconds from one frame to the next, the median of the recent ones; None before the second."""
        return statistics.median(self._intervals) if self._intervals else None
