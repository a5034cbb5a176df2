"""SIGHUP, the request to a running program to reload its files."""

import signal
from types import FrameType, TracebackType
from typing import Self

__all__ = ["ReloadRequest"]


class ReloadRequest:
    """A context in which SIGHUP sets a flag that `take` reads and clears."""

    def __init__(self) -> None:
        self._requested = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGHUP, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._requested = True

    def take(self) -> bool:
        """Return whether a reload was requested since the last call."""
        requested, self._requested = self._requested, False
        return requested

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGHUP, self._before)
