"""An open source: gives picture after picture. What OpenCV does where a stream fails is kept from its user here."""

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adainfd.capture import codec
from adainfd.capture.fault import Fault
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, SourceError

__all__ = ["Picture", "Reader", "open_reader"]

_USUAL_FPS = 25.0
_HIGHEST_FPS = 1000.0
# Containers estimate their length; a last frame or two that do not come are no sign of damage.
_FRAMES_THAT_MAY_MISS = 3

Picture = NDArray[np.uint8]


class Reader(Protocol):
    """What every kind of source offers once it is open."""

    frames_per_second: float
    codec: str | None
    """Its video's codec by FOURCC, where it is known."""

    def grab(self) -> bool:
        """Go on to the next picture, without decoding it; False at the end. Raises SourceError where a stream fails."""

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """The picture that was grabbed (height, width, 3), BGR; None where it cannot be decoded.

        into: memory for it, and itself the answer where the picture is of that shape and the source can fill it.
        """

    @property
    def broke_off(self) -> str | None:
        """What is missing, where a source ended before the length it claims."""

    def close(self) -> None:
        """Let go of the source."""


def open_reader(settings: CameraSettings) -> Reader:
    """The reader of a camera's source; raises SourceError where it cannot be opened within the camera's limits."""
    # They are made of a `VideoReader`.
    from adainfd.capture.pipe import PipeReader
    from adainfd.capture.stream import open_stream

    match settings.source.kind:
        case Kind.PICTURES:
            return PictureReader(settings)
        case Kind.PIPE:
            return PipeReader(settings)
        case Kind.STREAM:
            return open_stream(settings)
        case _:
            return VideoReader(settings)


class VideoReader:
    """A video file, a device or a stream, by OpenCV.

    `isOpened` stays true whatever happens to a stream, and after a read that was blocked for the whole time limit old
    frames come back as good ones and no new ones follow: such a read is an error, whatever it returned.
    """

    def __init__(self, settings: CameraSettings, address: str | None = None) -> None:
        """address: what FFmpeg opens instead of the source's own address."""
        self._source = source = settings.source
        self._live = source.live  # also once its device or pipe is gone
        self._limits = settings.limits
        if source.kind is Kind.FILE:
            source.check_file()
        begun = time.monotonic()
        self._capture = _open(settings, address)
        if not self._capture.isOpened():
            self._capture.release()
            late = source.live and time.monotonic() - begun >= self._limits.open_seconds
            if source.kind is Kind.FILE:
                raise codec.not_opened(source)
            fault = Fault.OPEN_TIMEOUT if late else Fault.CANNOT_OPEN
            raise SourceError(fault, f"source {source}: {_CANNOT_OPEN[source.kind]}")
        import cv2

        self.codec = codec.name_of(self._capture)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second: float = settings.fps or (fps if 0 < fps <= _HIGHEST_FPS else _USUAL_FPS)
        self._frames_expected = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if source.kind is Kind.FILE else 0.0
        self._frames_read = 0

    def grab(self) -> bool:
        """Go on to the next picture; False at a file's end. Raises SourceError where a stream fails."""
        begun = time.monotonic()
        grabbed: bool = self._capture.grab()
        if self._live and (waited := time.monotonic() - begun) >= self._limits.read_seconds:
            raise SourceError(Fault.READ_TIMEOUT, f"source {self._source}: sent nothing for {waited:.1f} s")
        if self._live and not grabbed:
            if not self._frames_read:
                raise codec.no_picture(self._source, self.codec)
            raise SourceError(Fault.STREAM_LOST, f"source {self._source}: broke off")
        self._frames_read += grabbed
        return grabbed

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`."""
        import cv2

        try:
            decoded, picture = self._capture.retrieve(into)
        except cv2.error:
            return None
        return picture.astype(np.uint8, copy=False) if decoded else None

    @property
    def broke_off(self) -> str | None:
        """What is missing, where a file ended before the length it claims."""
        if self._frames_expected - self._frames_read <= _FRAMES_THAT_MAY_MISS:
            return None
        return f"breaks off after {self._frames_read} of {self._frames_expected:.0f} frames"

    def close(self) -> None:
        """Let go of the source."""
        self._capture.release()


class PictureReader:
    """Pictures in a folder, one after the other. One that cannot be decoded is passed over, and `broke_off` says so."""

    def __init__(self, settings: CameraSettings) -> None:
        files = settings.source.pictures()
        if not files:
            raise SourceError(Fault.NO_SUCH_FILE, f"source {settings.source}: no such pictures")
        self.frames_per_second = settings.fps or _USUAL_FPS
        self.codec: str | None = None
        self.broke_off: str | None = None
        self._files: Iterator[Path] = iter(files)
        self._file: Path | None = None

    def grab(self) -> bool:
        """Go on to the next picture; False after the last."""
        self._file = next(self._files, None)
        return self._file is not None

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`; a file's picture has memory of its own."""
        del into
        import cv2

        picture = None if self._file is None else cv2.imread(str(self._file), cv2.IMREAD_COLOR)
        if picture is not None:
            return picture.astype(np.uint8, copy=False)
        if self._file is not None and self.broke_off is None:
            self.broke_off = f"{self._file.name} cannot be decoded"
        return None

    def close(self) -> None:
        """Nothing is held open."""


_CANNOT_OPEN = {
    Kind.DEVICE: "no such camera, or it is in use",
    Kind.PIPE: "what is written to it is not a video stream that OpenCV can read",
    Kind.STREAM: "does not answer, or is not a video stream",
}


def _open(settings: CameraSettings, address: str | None) -> Any:
    # Read by OpenCV when a capture is made; V4L2 knows whole seconds only.
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(settings.limits.read_seconds))
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", f"rtsp_transport;{settings.transport}")
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
    return cv2.VideoCapture(address or source.url, cv2.CAP_FFMPEG, parameters)


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))
