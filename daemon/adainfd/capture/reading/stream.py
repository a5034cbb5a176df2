"""A stream, opened by OpenCV; what does not open is asked why, and a single picture behind http is polled."""

import time

from adainf.media.undecodable import Undecodable
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.reading.diagnosis import Diagnosis, diagnose
from adainfd.capture.reading.reader import Picture, Reader, StreamReader
from adainfd.capture.reading.snapshot import SnapshotReader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import SourceError

__all__ = ["open_stream"]


def open_stream(settings: CameraSettings, attempts: Attempts) -> Reader:
    """A reader of a stream; raises SourceError that says what the server says, within the limit to open."""
    begun = time.monotonic()
    try:
        reader = StreamReader(settings, attempts)
    except SourceError as error:
        found = _asked(settings, begun, settings.limits.open_seconds) if error.fault is Fault.CANNOT_OPEN else None
        if found is None:
            raise
        if found.still:
            return SnapshotReader(settings, attempts)
        raise SourceError(found.fault, f"source {settings.source}: {found.detail}") from None
    return _WebReader(settings, attempts, reader) if settings.source.scheme in ("http", "https") else reader


def _asked(settings: CameraSettings, begun: float, limit: float) -> Diagnosis | None:
    """What the server says, within `limit` seconds; None where time is short: no limit holds while a name resolves."""
    return diagnose(settings, begun + limit) if time.monotonic() - begun < limit / 2 else None


class _WebReader:
    """A stream by OpenCV until it turns out to be a single picture, which OpenCV takes for a stream of one frame.

    It is asked then, not before: many a camera has one connection to give.
    """

    broke_off = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts, reader: Reader) -> None:
        self._settings = settings
        self._attempts = attempts
        self._reader = reader
        self._frames = 0
        self._undecodable: list[Undecodable] = []
        self.frames_per_second = reader.frames_per_second
        self.codec = reader.codec

    def grab(self) -> bool:
        """See `Reader`."""
        try:
            grabbed = self._reader.grab()
        except SourceError as error:
            if self._frames > 1 or error.fault is Fault.READ_TIMEOUT:
                raise
            found = _asked(self._settings, time.monotonic(), self._settings.limits.read_seconds)
            if found is None or not found.still:
                raise
            self._undecodable += self._reader.take_undecodable()
            self._reader.close()
            self._reader = SnapshotReader(self._settings, self._attempts)
            grabbed = self._reader.grab()
        self._frames += grabbed
        return grabbed

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        return self._reader.retrieve(into)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        taken = [*self._undecodable, *self._reader.take_undecodable()]
        self._undecodable.clear()
        return taken

    def close(self) -> None:
        """Let go of the stream."""
        self._reader.close()
