"""The last picture of each camera that the page may show: small, once a second, and only while it is viewed."""

import functools
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainfd.wire.observing import Observer

__all__ = ["Pictures"]

_EVERY_SECONDS = 1.0
_LOOKED_AT_SECONDS = 10.0
_PATIENCE_SECONDS = 3.0
_WIDTH = 480
_QUALITY = 80


class Pictures(Observer):
    """Keeps a small copy of one frame a second from each camera whose picture was requested in the last 10 s."""

    def __init__(
        self,
        cameras: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """cameras: those whose pictures may be shown. patience_seconds: how long a requested picture is expected."""
        self.cameras = frozenset(cameras)
        self._clock = clock
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._asked = dict.fromkeys(self.cameras, -math.inf)
        self._wait_until = dict.fromkeys(self.cameras, -math.inf)
        self._kept: dict[str, _Kept] = {}

    def wanted(self, camera: str) -> bool:
        """Return whether to keep the camera's next picture: it is being viewed, and the last one is a second old."""
        if camera not in self.cameras:
            return False
        now = self._clock()
        with self._lock:
            kept_at = self._kept[camera].at if camera in self._kept else -math.inf
            return now - self._asked[camera] <= _LOOKED_AT_SECONDS and now - kept_at >= _EVERY_SECONDS

    def answered(self, camera: str, picture: NDArray[np.uint8]) -> None:
        """Keep a copy of the picture at most 480 pixels wide, if it is wanted; picture: (height, width, 3), BGR."""
        if not self.wanted(camera):
            return
        import cv2

        height, width = picture.shape[:2]
        size = (min(_WIDTH, width), max(1, round(height * min(_WIDTH, width) / width)))
        # INTER_AREA would read every pixel of a large picture: 0.3 ms instead of 3 at 1080p.
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        with self._lock:
            self._kept[camera] = _Kept(self._clock(), small.copy())

    def expected(self, camera: str) -> bool:
        """Return whether a picture was requested and may still arrive within the patience."""
        with self._lock:
            return camera not in self._kept and self._clock() < self._wait_until.get(camera, -math.inf)

    def jpeg(self, camera: str) -> bytes | None:
        """Return the last picture as JPEG, or None if there is none; the request has the next ones kept.

        The first request after a pause discards the kept picture, which may be old, and has to wait for the next.
        """
        if camera not in self.cameras:
            return None
        now = self._clock()
        with self._lock:
            if now - self._asked[camera] > _LOOKED_AT_SECONDS:
                self._kept.pop(camera, None)
                self._wait_until[camera] = now + self._patience
            self._asked[camera] = now
            kept = self._kept.get(camera)
        return None if kept is None else kept.jpeg


@dataclass
class _Kept:
    """A picture and its time; encoded once, however many requests there are."""

    at: float
    picture: NDArray[np.uint8]

    @functools.cached_property
    def jpeg(self) -> bytes | None:
        import cv2

        encoded, data = cv2.imencode(".jpg", self.picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return data.tobytes() if encoded else None
