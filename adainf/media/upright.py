"""How a picture is to be shown: which way up, and with how wide pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["AS_STORED", "Showing", "aspect_of"]

_TURNS_ASIDE = 5
_WIDEST = 4.0
_NOTICEABLE = 0.01


def aspect_of(width: float, height: float) -> float:
    """The width of a pixel over its height; 1 where that is unknown, beyond belief, or not worth a change."""
    if width <= 0 or height <= 0:
        return 1.0
    aspect = width / height
    return aspect if abs(aspect - 1) > _NOTICEABLE and 1 / _WIDEST <= aspect <= _WIDEST else 1.0


@dataclass(frozen=True, slots=True)
class Showing:
    """What turns the stored picture into the one that is meant.

    orientation: as EXIF numbers it, 1 (upright) to 8. aspect: of the stored pixels, width over height.
    """

    orientation: int = 1
    aspect: float = 1.0

    @property
    def as_stored(self) -> bool:
        """Whether the stored picture is the one that is meant."""
        return self == AS_STORED

    @property
    def turns_aside(self) -> bool:
        """Whether width and height change places."""
        return self.orientation >= _TURNS_ASIDE

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture with square pixels (height, width, 3) of a stored one."""
        if self.aspect != 1:
            height, width = picture.shape[:2]
            size = (max(1, round(width * self.aspect)), height)
            way = cv2.INTER_AREA if self.aspect < 1 else cv2.INTER_LINEAR
            picture = cv2.resize(picture, size, interpolation=way).astype(np.uint8, copy=False)
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
