"""Readers for files, devices and streams; they hide OpenCV's unreliable behaviour after a stream failure."""

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adainf.media import captures
from adainf.media.undecodable import Undecodable, UndecodableError
from adainfd.capture.exchange.attempts import DEADLY, Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.leash import leash_of
from adainfd.capture.reading import codec, formats, lookups
from adainfd.capture.reading.pictures import Picture, PictureReader, fitted
from adainfd.capture.settings import PIXELS_A_MEGAPIXEL, CameraSettings
from adainfd.capture.source import Kind, SourceError

if TYPE_CHECKING:
    from adainf.media.videos import Video

__all__ = ["FileReader", "Picture", "Reader", "StreamReader", "open_reader"]

_USUAL_FPS = 25.0
# Consecutive immediate failures before a stream counts as lost; a lost stream fails immediately forever.
_TRIES = 1000
# FFmpeg cannot skip a single frame; it resumes after the next key frame.
_LEAP_FRAMES = 32


class Reader(Protocol):
    """The interface of every open source."""

    frames_per_second: float

    def grab(self) -> bool:
        """Advance to the next picture; return False at the end. Raises SourceError if a stream fails."""

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """Return the grabbed picture (height, width, 3), BGR, upright; None if it cannot be decoded.

        into: a buffer to fill and return, used if the picture has its shape and the source supports it.
        """

    def take_undecodable(self) -> list[Undecodable]:
        """Return what could not be decoded since the last call: skipped by `grab`, or None from `retrieve`."""

    @property
    def codec(self) -> str | None:
        """The FOURCC of the video's codec, if known."""

    @property
    def position(self) -> float | None:
        """The presentation time of the grabbed picture, in seconds from the beginning; None if unknown."""

    @property
    def broke_off(self) -> str | None:
        """What is missing, if the source ended before its claimed length."""

    def close(self) -> None:
        """Release the source."""


def open_reader(settings: CameraSettings, attempts: Attempts | None = None) -> Reader:
    """Return a reader for a camera's source; raise SourceError if it cannot be opened within the time limits.

    attempts: records what is being decoded, and knows which pictures to skip.
    """
    # Imported here because both modules import this one.
    from adainfd.capture.reading.pipe import PipeReader
    from adainfd.capture.reading.stream import open_stream

    attempts = attempts or Attempts()
    match settings.source.kind:
        case Kind.PICTURES:
            return PictureReader(settings, attempts)
        case Kind.FILE:
            return FileReader(settings, attempts)
        case Kind.PIPE:
            return PipeReader(settings, attempts)
        case Kind.STREAM:
            return open_stream(settings, attempts)
        case Kind.DEVICE:
            return StreamReader(settings, attempts)


class FileReader:
    """A video file. Undecodable frames are passed over, and so are those that ended an earlier process."""

    def __init__(self, settings: CameraSettings, attempts: Attempts) -> None:
        from adainf.media.videos import VideoFile

        self._attempts = attempts
        source = settings.source
        source.check_file()
        self._video = VideoFile(lambda: _open(settings), Path(source.path), settings.most_pixels)
        if not self._video.opened:
            self._video.close()
            raise codec.not_opened(source)
        _refuse_giant(self._video, settings)
        self._most_pixels = settings.most_pixels
        self.codec = codec.name_of(self._video.fourcc)
        self._by_timestamps = settings.fps is None
        self.frames_per_second: float = settings.fps or self._video.frames_per_second or _USUAL_FPS

    def grab(self) -> bool:
        """Advance to the next frame that can be decoded; return False at the end."""
        if self._video.decodes_late:
            return self._video.grab()
        self._attempts.begin(self._name_of_next(0))
        try:
            if self._attempts.is_deadly(self._name_of_next(0)):
                return self._leap()
            return self._video.grab()
        finally:
            self._attempts.done()

    def _name_of_next(self, ahead: int) -> str:
        return f"frame {self._video.index + 1 + ahead}"

    def _leap(self) -> bool:
        frames = _LEAP_FRAMES
        while self._attempts.is_deadly(self._name_of_next(frames)):
            frames *= 2
        self._attempts.begin(self._name_of_next(frames))
        return self._video.jump(DEADLY, frames)

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        name = f"frame {self._video.index}"
        if self._attempts.is_deadly(name):
            self._video.undecodable.append(Undecodable(name, DEADLY))
            return None
        self._attempts.begin(name)
        picture = self._video.try_retrieve(into)
        return None if picture is None else fitted(picture, self._most_pixels)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        undecodable, self._video.undecodable = self._video.undecodable, []
        return undecodable

    @property
    def position(self) -> float | None:
        """See `Reader`; None if the configuration sets the frame rate."""
        return self._video.position if self._by_timestamps else None

    @property
    def broke_off(self) -> str | None:
        """What is missing, if the file is shorter than its container claims."""
        return self._video.broke_off

    def close(self) -> None:
        """Close the file."""
        self._video.close()


class StreamReader:
    """A device or a stream, read by OpenCV.

    `isOpened` stays true whatever happens to a stream. After a read that blocked for its whole time limit, OpenCV
    returns old frames as good ones and no new ones: such a read is an error, whatever it returned. An immediate failure
    is an undecodable frame if others follow, or the end of the stream if none does.
    """

    broke_off = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts, address: str | None = None) -> None:
        """address: passed to FFmpeg instead of the source's own."""
        from adainf.media.videos import Video

        self._source = source = settings.source
        self._limits = settings.limits
        self._attempts = attempts
        begun = time.monotonic()
        self._most_pixels = settings.most_pixels
        self._video = Video(lambda: _open(settings, address), settings.most_pixels)
        try:
            self._check_led()
        except SourceError:
            self._video.close()
            raise
        if not self._video.opened:
            self._video.close()
            late = time.monotonic() - begun >= settings.limits.open_seconds
            fault = Fault.OPEN_TIMEOUT if late else Fault.CANNOT_OPEN
            raise SourceError(fault, f"source {source}: {_CANNOT_OPEN[source.kind]}")
        _refuse_giant(self._video, settings)
        self.codec = codec.name_of(self._video.fourcc)
        self.frames_per_second: float = settings.fps or self._video.frames_per_second or _USUAL_FPS
        self._undecodable = 0
        self._failing_since: float | None = None

    def grab(self) -> bool:
        """Advance to the next frame. Raises SourceError if the stream fails or yields no more pictures."""
        for _ in range(_TRIES):
            begun = time.monotonic()
            grabbed = self._video.advance()
            self._check_led()
            if (waited := time.monotonic() - begun) >= self._limits.read_seconds:
                raise SourceError(Fault.READ_TIMEOUT, f"source {self._source}: sent nothing for {waited:.1f} s")
            if grabbed:
                if not self._video.decodes_late:
                    self._failing_since = None
                return True
            self._failed()
        self._undecodable -= _TRIES
        if not self._video.index:
            raise codec.no_picture(self._source, self.codec)
        raise SourceError(Fault.STREAM_LOST, f"source {self._source}: broke off")

    def _check_led(self) -> None:
        if self._source.kind is Kind.STREAM and (reason := lookups.refused()) is not None:
            raise SourceError(Fault.LED_ELSEWHERE, f"source {self._source}: {reason}")

    def _failed(self) -> None:
        now = time.monotonic()
        self._undecodable += 1
        self._failing_since = now if self._failing_since is None else self._failing_since
        if (failing := now - self._failing_since) >= self._limits.stall_seconds:
            reason = f"source {self._source}: has sent nothing that can be decoded for {failing:.1f} s"
            raise SourceError(Fault.NO_PICTURE, reason)

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        self._attempts.begin("a frame")
        try:
            picture = self._video.retrieve(into)
        except UndecodableError:
            self._failed()
            return None
        self._failing_since = None
        return fitted(picture, self._most_pixels)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`; a stream's frames have no names."""
        failed, self._undecodable = self._undecodable, 0
        return [Undecodable("frames of the stream", "cannot be decoded", failed)] if failed > 0 else []

    def close(self) -> None:
        """Release the source."""
        self._video.close()


def _refuse_giant(video: "Video", settings: CameraSettings) -> None:
    """Raise SourceError if FFmpeg would decode oversized pictures; oversized JPEGs are decoded at a smaller scale."""
    if video.is_giant:
        width, height = video.size
        video.close()
        limit = f"at most {settings.most_pixels / PIXELS_A_MEGAPIXEL:.4g} megapixels are decoded (max_megapixels)"
        raise SourceError(
            Fault.PICTURE_TOO_LARGE, f"source {settings.source}: its pictures have {width} × {height} pixels; {limit}"
        )


_CANNOT_OPEN = {
    Kind.DEVICE: "no such camera, or it is in use",
    Kind.PIPE: "what is written to it is not a video stream that OpenCV can read",
    Kind.STREAM: "does not answer, or is not a video stream",
}


def _open(settings: CameraSettings, address: str | None = None) -> Any:
    # OpenCV reads this when it creates a capture; for V4L2 only whole seconds are possible.
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(settings.limits.read_seconds))
    if settings.source.kind is Kind.STREAM:
        _hold(settings)
    import cv2

    cv2.setNumThreads(1)
    source = settings.source
    if source.kind is Kind.DEVICE:
        return cv2.VideoCapture(source.device, cv2.CAP_V4L2)
    # With more threads, a read can take up to three times its limit.
    parameters = [cv2.CAP_PROP_N_THREADS, 1]
    if source.live:
        # Time limits take effect only when set on opening.
        parameters += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _milliseconds(settings.limits.open_seconds)]
        parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _milliseconds(settings.limits.read_seconds)]
    return captures.opened(address or source.url, parameters, formats.options(settings))


def _hold(settings: CameraSettings) -> None:
    try:
        lookups.hold(leash_of(settings))
    except lookups.UnguardedError as error:
        reason = f"OpenCV's FFmpeg cannot be kept from following elsewhere ({error}); install opencv-python"
        raise SourceError(Fault.CANNOT_OPEN, f"source {settings.source}: {reason}") from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
