"""Motion: how much of the picture changed since the frame before."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MotionMeter"]

_SIZE = (96, 54)
# Sensor noise averaged over a cell of the small copy stays well below this; a moving edge does not.
_CHANGED_LEVELS = 10


class MotionMeter:
    """Compares each picture with the one before on a small grey copy."""

    def __init__(self) -> None:
        self._before: NDArray[np.int16] | None = None

    def measure(self, picture: NDArray[np.uint8]) -> float | None:
        """The share (0..1) of the picture that changed; None for the first one.

        A change of exposure moves all levels alike and does not count.
        """
        # Every fourth pixel is enough for cells of this size, and a quarter of the memory is read.
        step = max(1, picture.shape[1] // (4 * _SIZE[0]))
        small = cv2.resize(picture[::step, ::step], _SIZE, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.int16)
        before, self._before = self._before, grey
        if before is None:
            return None
        difference = grey - before
        difference -= np.int16(np.median(difference))
        return float(np.mean(np.abs(difference) > _CHANGED_LEVELS))
