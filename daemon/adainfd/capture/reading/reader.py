"""An open source: gives picture after picture. What OpenCV does where a stream fails is kept from its user here."""

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
# How often in a row a stream may fail at once; one that is lost does for ever.
_TRIES = 1000
# FFmpeg cannot leave out one frame; it goes on behind the next key frame.
_LEAP_FRAMES = 32


class Reader(Protocol):
    """What every kind of source offers once it is open."""

    frames_per_second: float

    def grab(self) -> bool:
        """Go on to the next picture; False at the end. Raises SourceError where a stream fails."""

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """The picture that was grabbed (height, width, 3), BGR, upright; None where it cannot be decoded.

        into: memory for it, and itself the answer where the picture is of that shape and the source can fill it.
        """

    def take_undecodable(self) -> list[Undecodable]:
        """What could not be decoded since this was asked last: passed over by `grab`, or None from `retrieve`."""

    @property
    def codec(self) -> str | None:
        """The FOURCC of its video's codec, where it is known."""

    @property
    def position(self) -> float | None:
        """When the picture that was grabbed is shown, seconds from the beginning; None where nothing tells."""

    @property
    def broke_off(self) -> str | None:
        """What is missing, where a source ended before the length it claims."""

    def close(self) -> None:
        """Let go of the source."""


def open_reader(settings: CameraSettings, attempts: Attempts | None = None) -> Reader:
    """The reader of a camera's source; raises SourceError where it cannot be opened within the camera's limits.

    attempts: learns what is being decoded, and knows what is better left alone.
    """
    # They are made of a `StreamReader`.
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
    """A video file. Frames that cannot be decoded are passed over, and so is one that a process ended on."""

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
        """Go on to the next frame that can be decoded; False at the end."""
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
        what = f"frame {self._video.index}"
        if self._attempts.is_deadly(what):
            self._video.undecodable.append(Undecodable(what, DEADLY))
            return None
        self._attempts.begin(what)
        picture = self._video.try_retrieve(into)
        return None if picture is None else fitted(picture, self._most_pixels)

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        taken, self._video.undecodable = self._video.undecodable, []
        return taken

    @property
    def position(self) -> float | None:
        """See `Reader`; none where the configuration sets the rate."""
        return self._video.position if self._by_timestamps else None

    @property
    def broke_off(self) -> str | None:
        """What is missing, where the file is shorter than its container says."""
        return self._video.broke_off

    def close(self) -> None:
        """Let go of the file."""
        self._video.close()


class StreamReader:
    """A device or a stream, by OpenCV.

    `isOpened` stays true whatever happens to a stream, and after a read that was blocked for the whole time limit old
    frames come back as good ones and no new ones follow: such a read is an error, whatever it returned. One that fails
    at once is a frame that could not be decoded where others follow, and the end of the stream where none does.
    """

    broke_off = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts, address: str | None = None) -> None:
        """address: what FFmpeg opens instead of the source's own address."""
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
        """Go on to the next frame that comes. Raises SourceError where the stream fails or shows nothing any more."""
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
        """See `Reader`; the frames of a stream have no names."""
        failed, self._undecodable = self._undecodable, 0
        return [Undecodable("frames of the stream", "cannot be decoded", failed)] if failed > 0 else []

    def close(self) -> None:
        """Let go of the source."""
        self._video.close()


def _refuse_giant(video: "Video", settings: CameraSettings) -> None:
    """Raise SourceError where FFmpeg would decode pictures that are too large; a JPEG is decoded at a smaller scale."""
    if video.is_giant:
        width, height = video.size
        video.close()
        most = f"at most {settings.most_pixels / PIXELS_A_MEGAPIXEL:.4g} megapixels are decoded (max_megapixels)"
        raise SourceError(
            Fault.PICTURE_TOO_LARGE, f"source {settings.source}: its pictures have {width} × {height} pixels; {most}"
        )


_CANNOT_OPEN = {
    Kind.DEVICE: "no such camera, or it is in use",
    Kind.PIPE: "what is written to it is not a video stream that OpenCV can read",
    Kind.STREAM: "does not answer, or is not a video stream",
}


def _open(settings: CameraSettings, address: str | None = None) -> Any:
    # Read by OpenCV when a capture is made; V4L2 knows whole seconds only.
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(settings.limits.read_seconds))
    if settings.source.kind is Kind.STREAM:
        _hold(settings)
    import cv2

    cv2.setNumThreads(1)
    source = settings.source
    if source.kind is Kind.DEVICE:
        return cv2.VideoCapture(source.device, cv2.CAP_V4L2)
    # With more threads a read takes up to three times its limit.
    parameters = [cv2.CAP_PROP_N_THREADS, 1]
    if source.live:
        # Time limits count when they are given here; later they cannot be set any more.
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
