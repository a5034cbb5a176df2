"""What a camera reads from: a video file, a device of this box or a stream, opened by OpenCV."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kind", "Source", "SourceError", "VideoReader", "without_credentials"]

_OPEN_TIMEOUT_MS = 5000
_READ_TIMEOUT_MS = 5000
_USUAL_FPS = 25.0
_HIGHEST_FPS = 1000.0
# Containers estimate their length; a last frame or two that do not come are no sign of damage.
_FRAMES_THAT_MAY_MISS = 3

Picture = NDArray[np.uint8]


class SourceError(Exception):
    """A source cannot be opened or gives no picture; the message says which and why."""


class Kind(StrEnum):
    """How a source behaves: a file waits for its reader, a device or stream does not."""

    FILE = "file"
    DEVICE = "device"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Source:
    """The address of a camera: a file's path, a device's index or path, or a stream's URL."""

    address: str

    @property
    def kind(self) -> Kind:
        """What the address names."""
        if self.address.isdigit() or self.address.startswith("/dev/"):
            return Kind.DEVICE
        return Kind.STREAM if "://" in self.address else Kind.FILE

    @property
    def stem(self) -> str:
        """A camera's name where the owner gives none."""
        if self.kind is Kind.STREAM:
            return re.sub(r"[^A-Za-z0-9_.-]+", "-", without_credentials(self.address).partition("://")[2]).strip("-")
        stem = f"camera{self.address}" if self.address.isdigit() else Path(self.address).stem
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem) or "camera"

    def __str__(self) -> str:
        return without_credentials(self.address)


def without_credentials(address: str) -> str:
    """The address as it may be shown: a URL's user and password are left out, before the host and in parameters.

    Passwords hold @ and / too, and every maker of cameras names the parameter otherwise: rather too much is hidden.
    """
    if "://" not in address:
        return address
    return re.sub(r"=[^&]*", "=***", re.sub(r"(?<=://).*@", "***@", address))


class VideoReader:
    """An open source. `read` gives picture after picture, None at the end."""

    def __init__(self, source: Source) -> None:
        """Open `source`; raises SourceError where that is not possible."""
        self.source = source
        if source.kind is Kind.FILE and not Path(source.address).is_file():
            raise SourceError(f"source {source}: no such file")
        self._capture = _open(source)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"source {source}: {_CANNOT_OPEN[source.kind]}")
        import cv2

        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.frames_per_second: float = fps if 0 < fps <= _HIGHEST_FPS else _USUAL_FPS
        self._frames_expected = self._capture.get(cv2.CAP_PROP_FRAME_COUNT) if source.kind is Kind.FILE else 0.0
        self.frames_read = 0

    def read(self) -> Picture | None:
        """The next picture (height, width, 3), BGR; None where nothing more comes."""
        arrived, picture = self._capture.read()
        if not arrived:
            return None
        self.frames_read += 1
        result: Picture = picture
        return result

    def skip(self) -> bool:
        """Pass over the next picture without decoding it; False where nothing more comes."""
        grabbed: bool = self._capture.grab()
        return grabbed

    @property
    def broke_off(self) -> str | None:
        """What is missing, where a file ended before the length it claims."""
        if self._frames_expected - self.frames_read <= _FRAMES_THAT_MAY_MISS:
            return None
        return f"breaks off after {self.frames_read} of {self._frames_expected:.0f} frames"

    def close(self) -> None:
        """Let go of the source."""
        self._capture.release()


_CANNOT_OPEN = {
    Kind.FILE: "is not a video that OpenCV can read",
    Kind.DEVICE: "no such camera, or it is in use",
    Kind.STREAM: "does not answer, or is not a video stream",
}


def _open(source: Source) -> Any:
    import cv2

    cv2.setNumThreads(1)
    if source.kind is Kind.DEVICE:
        index = source.address.removeprefix("/dev/video")
        return cv2.VideoCapture(int(index) if index.isdigit() else source.address, cv2.CAP_V4L2)
    parameters = [cv2.CAP_PROP_N_THREADS, 1]
    if source.kind is Kind.STREAM:
        parameters += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS]
        parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_TIMEOUT_MS]
    return cv2.VideoCapture(source.address, cv2.CAP_FFMPEG, parameters)
