"""Whether the daemon is alive, for whoever asks over HTTP."""

import time
from collections.abc import Callable

from adainfd.wire.observing import Observer

__all__ = ["Health"]

_PATIENCE_SECONDS = 20.0


class Health(Observer):
    """Whether the main loop goes round."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turned_at: float | None = None
        self._broken = False

    def turned(self) -> None:
        """It did."""
        self._turned_at = self._clock()

    def broken(self) -> None:
        """It goes round, and a restart is wanted all the same."""
        self._broken = True

    @property
    def alive(self) -> bool:
        """Whether it did of late, or has not begun yet: a start may take long, and systemd watches over that."""
        return not self._broken and (self._turned_at is None or self._clock() - self._turned_at < _PATIENCE_SECONDS)
