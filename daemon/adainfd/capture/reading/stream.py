"""Opening of network streams: by OpenCV first; on failure, the server is asked why, and a single picture is polled."""

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
    """Return a reader for a stream; raise SourceError with the server's reason, within the time limit for opening."""
    begun = time.monotonic()
    try:
        reader = StreamReader(settings, attempts)
    except SourceError as error:
        diagnosis = _asked(settings, begun, settings.limits.open_seconds) if error.fault is Fault.CANNOT_OPEN else None
        if diagnosis is None:
            raise
        if diagnosis.still:
            return SnapshotReader(settings, attempts)
        raise SourceError(diagnosis.fault, f"source {settings.source}: {diagnosis.detail}") from None
    return _WebReader(settings, attempts, reader) if settings.source.scheme in ("http", "https") else reader


def _asked(settings: CameraSettings, begun: float, limit: float) -> Diagnosis | None:
    """Ask the server within `limit` seconds; None if half of them are gone, as name resolution has no timeout."""
    return diagnose(settings, begun + limit) if time.monotonic() - begun < limit / 2 else None


class _WebReader:
    """An HTTP stream read by OpenCV until it proves to be a single picture, which OpenCV reads as a one-frame stream.

    The server is only asked then, as many cameras accept a single connection.
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
            diagnosis = _asked(self._settings, time.monotonic(), self._settings.limits.read_seconds)
            if diagnosis is None or not diagnosis.still:
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
        undecodable = [*self._undecodable, *self._reader.take_undecodable()]
        self._undecodable.clear()
        return undecodable

    def close(self) -> None:
        """Close the stream."""
        self._reader.close()
