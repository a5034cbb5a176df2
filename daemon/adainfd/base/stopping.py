"""SIGTERM and SIGINT: stop at once during startup, and after the current frame in the main loop."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

__all__ = ["StopRequest", "StoppedEarly"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedEarly(BaseException):
    """A stop signal during startup; unwinds like KeyboardInterrupt."""


class StopRequest:
    """A context in which a stop signal sets `requested` and makes `fileno` readable.

    Before `defer`, the first signal raises StoppedEarly, which the context suppresses on exit.
    """

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False
        self._read, self._write = os.pipe()

    def __enter__(self) -> Self:
        os.set_blocking(self._write, False)
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        first, self.requested = not self.requested, True
        if not self._deferred and first:
            raise StoppedEarly
        if first:
            os.write(self._write, b"!")

    def defer(self) -> None:
        """Only set the flag on a signal from now on, instead of raising."""
        self._deferred = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Defer a signal to the end of the context, which then raises StoppedEarly."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            raise StoppedEarly

    def fileno(self) -> int:
        """Return a file descriptor that becomes readable once a deferred stop is requested."""
        return self._read

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
        # A library interrupted while it is imported may wrap StoppedEarly in an ImportError.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StoppedEarly):
            cause = cause.__cause__
        return cause is not None
