"""A named pipe (FIFO): a live stream that comes as long as somebody writes to it."""

import os
import select
import time

from adainf.media.undecodable import Undecodable
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import Picture, StreamReader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError

__all__ = ["PipeReader"]


class PipeReader:
    """Opens as soon as something is written. FFmpeg reads it without blocking, so that time limits hold."""

    broke_off = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts) -> None:
        begun = time.monotonic()
        self._pipe = _opened(settings, begun + settings.limits.open_seconds)
        try:
            self._reader = StreamReader(settings, attempts, f"pipe:{self._pipe}")
        except SourceError:
            os.close(self._pipe)
            raise
        self.codec = self._reader.codec
        self.frames_per_second = self._reader.frames_per_second

    def grab(self) -> bool:
        """See `Reader`; raises SourceError where nobody writes any more."""
        return self._reader.grab()

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        return self._reader.retrieve(into)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        return self._reader.take_undecodable()

    def close(self) -> None:
        """Let go of the pipe: what writes to it ends, or waits for the next reader."""
        self._reader.close()
        os.close(self._pipe)


def _opened(settings: CameraSettings, until: float) -> int:
    """A descriptor with something to read, by `until` (monotonic seconds) at the latest."""
    source = settings.source
    pipe = _open(source)
    while True:
        events = select.poll()
        events.register(pipe, select.POLLIN)
        for _, event in events.poll(max(0.0, 1000 * (until - time.monotonic()))):
            if event & select.POLLIN:
                return pipe
        if time.monotonic() >= until:
            os.close(pipe)
            raise SourceError(Fault.OPEN_TIMEOUT, f"source {source}: nothing is written to this pipe")
        # A writer left before it wrote anything. The pipe is opened anew before it is closed: the next writer, who may
        # be writing already, must find a reader at every moment.
        left, pipe = pipe, _open(source)
        os.close(left)


def _open(source: Source) -> int:
    try:
        return os.open(source.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(Fault.CANNOT_OPEN, f"source {source}: cannot be read ({error.strerror})") from None
