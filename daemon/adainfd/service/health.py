"""The daemon's liveness, for health checks over HTTP."""

import time
from collections.abc import Callable

from adainfd.wire.observing import Observer

__all__ = ["Health"]

_PATIENCE_SECONDS = 20.0


class Health(Observer):
    """Liveness of the main loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at: float | None = None
        self._broken = False

    def turned(self) -> None:
        """Record an iteration of the main loop."""
        self._turned_at = self._clock()

    def broken(self) -> None:
        """Report the daemon as dead from now on, though the main loop runs: only a restart helps."""
        self._broken = True

    @property
    def alive(self) -> bool:
        """Whether the loop ran in the last 20 s, or has not begun yet: systemd watches over the start."""
        return not self._broken and (self._turned_at is None or self._clock() - self._turned_at < _PATIENCE_SECONDS)
