"""SIGTERM and SIGINT: at once while the daemon starts, after the frame at hand while it runs."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

__all__ = ["StopRequest", "StoppedEarly"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedEarly(BaseException):
    """Asked to stop before anything ran; unwinds like KeyboardInterrupt."""


class StopRequest:
    """While entered, a signal to stop sets `requested` and makes `fileno` readable; before `defer` it raises.

    What it raises ends with it.
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
        """From now on a signal is only noted."""
        self._deferred = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While inside, a signal is only noted; a stop asked for by then takes effect at the end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            raise StoppedEarly

    def fileno(self) -> int:
        """Readable once a stop was requested."""
        return self._read

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)
        # A library that is being loaded makes an ImportError of it.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StoppedEarly):
            cause = cause.__cause__
        return cause is not None
