"""Orientation and pixel aspect ratio of pictures."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["AS_STORED", "Showing", "aspect_of"]

_TURNS_ASIDE = 5
_WIDEST = 4.0
_NOTICEABLE = 0.01


def aspect_of(width: float, height: float) -> float:
    """Return the pixel aspect ratio, width over height; 1 if it is unknown, implausible, or within 1 % of square."""
    if width <= 0 or height <= 0:
        return 1.0
    aspect = width / height
    return aspect if abs(aspect - 1) > _NOTICEABLE and 1 / _WIDEST <= aspect <= _WIDEST else 1.0


@dataclass(frozen=True, slots=True)
class Showing:
    """The transformation from the stored picture to the displayed one.

    orientation: EXIF orientation, 1 (upright) to 8. aspect: width over height of a stored pixel.
    """

    orientation: int = 1
    aspect: float = 1.0

    @property
    def as_stored(self) -> bool:
        """Whether the stored picture needs no transformation."""
        return self == AS_STORED

    @property
    def turns_aside(self) -> bool:
        """Whether width and height are swapped."""
        return self.orientation >= _TURNS_ASIDE

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored picture (height, width, 3) upright and with square pixels."""
        if self.aspect != 1:
            height, width = picture.shape[:2]
            size = (max(1, round(width * self.aspect)), height)
            interpolation = cv2.INTER_AREA if self.aspect < 1 else cv2.INTER_LINEAR
            picture = cv2.resize(picture, size, interpolation=interpolation).astype(np.uint8, copy=False)
        match self.orientation:
            case 2:
                turned = cv2.flip(picture, 1)
            case 3:
                turned = cv2.rotate(picture, cv2.ROTATE_180)
            case 4:
                turned = cv2.flip(picture, 0)
            case 5:
                turned = cv2.transpose(picture)
            case 6:
                turned = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
            case 7:
                turned = cv2.flip(cv2.transpose(picture), -1)
            case 8:
                turned = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
            case _:
                turned = picture
        return turned.astype(np.uint8, copy=False)


AS_STORED = Showing()
