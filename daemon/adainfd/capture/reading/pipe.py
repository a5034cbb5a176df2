"""Reader for a named pipe (FIFO): a live stream that lasts as long as a writer keeps it open."""

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
    """A named pipe, opened once something is written to it. FFmpeg reads it without blocking, so time limits hold."""

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
        """See `Reader`; raises SourceError once no writer is left."""
        return self._reader.grab()

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        return self._reader.retrieve(into)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        return self._reader.take_undecodable()

    def close(self) -> None:
        """Close the pipe; its writer ends, or waits for the next reader."""
        self._reader.close()
        os.close(self._pipe)


def _opened(settings: CameraSettings, until: float) -> int:
    """Return a descriptor with data to read; raise SourceError if there is none by `until` (monotonic seconds)."""
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
        # A writer closed the pipe before it wrote anything. Reopen before closing: the next writer may be writing
        # already and must find a reader at every moment.
        previous, pipe = pipe, _open(source)
        os.close(previous)


def _open(source: Source) -> int:
    try:
        return os.open(source.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(Fault.CANNOT_OPEN, f"source {source}: cannot be read ({error.strerror})") from None
