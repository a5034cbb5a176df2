"""Reader for pictures in a folder."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import printable
from adainf.media.undecodable import LONGEST_NAME, Undecodable, UndecodableError
from adainfd.capture.exchange.attempts import DEADLY, Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import SourceError

__all__ = ["Picture", "PictureReader", "fitted"]

_USUAL_FPS = 25.0

Picture = NDArray[np.uint8]


def fitted(picture: Picture, most_pixels: int) -> Picture:
    """Return the picture, scaled down if it exceeds `most_pixels`, as correction of non-square pixels can make it."""
    height, width = picture.shape[:2]
    if height * width <= most_pixels:
        return picture
    import cv2

    factor = math.sqrt(most_pixels / (height * width))
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class PictureReader:
    """A single picture, or the pictures of a folder in turn. Undecodable ones are passed over."""

    broke_off = None
    codec = None
    position = None

    def __init__(self, settings: CameraSettings, attempts: Attempts) -> None:
        source = settings.source
        files = source.pictures()
        if not files:
            raise SourceError(Fault.NO_SUCH_FILE, f"source {source}: no such pictures")
        self.frames_per_second = settings.fps or _USUAL_FPS
        self._most_pixels = settings.most_pixels
        self._attempts = attempts
        self._files = iter(files)
        self._file: Path | None = None
        self._undecodable: list[Undecodable] = []

    def grab(self) -> bool:
        """Advance to the next picture; return False after the last."""
        self._file = next(self._files, None)
        return self._file is not None

    def retrieve(self, into: Picture | None = None) -> Picture | None:
        """See `Reader`; `into` is not used."""
        del into
        from adainf.media import pictures

        if self._file is None:
            return None
        name, identity = printable(self._file.name, LONGEST_NAME), _identity(self._file)
        if self._attempts.is_deadly(name, identity):
            self._pass_over(DEADLY)
            return None
        try:
            self._attempts.begin(name, identity)
            return fitted(pictures.decode(self._file, self._most_pixels), self._most_pixels)
        except UndecodableError as error:
            self._pass_over(error.why)
            return None

    def _pass_over(self, why: str) -> None:
        if self._file is not None:
            self._undecodable.append(Undecodable(printable(self._file.name, LONGEST_NAME), why))

    def take_undecodable(self) -> list[Undecodable]:
        """See `Reader`."""
        undecodable, self._undecodable = self._undecodable, []
        return undecodable

    def close(self) -> None:
        """Do nothing: no file is held open."""


def _identity(file: Path) -> str:
    """Return the modification time, which tells a picture from a later one of the same name; empty if unknown."""
    try:
        return str(file.stat().st_mtime_ns)
    except OSError:
        return ""
