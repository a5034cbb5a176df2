"""Views of a taught picture: as it is, in other light, and as an infrared camera would see it."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["VIEWS", "views_of"]

VIEWS = 3
"""How many views `views_of` returns."""

_LIGHT = 0.4  # of the brightness and the contrast: their natural logarithm at most
_COLOUR = 0.15  # of each channel


def views_of(
    picture: NDArray[np.uint8], random: np.random.Generator, *, mirrored: bool = False
) -> list[NDArray[np.uint8]]:
    """Return a BGR picture (height, width, 3) as it is, in other light and colour, and grey in other light.

    mirrored: swap left and right in the last two every other time.
    """
    views = [picture]
    for grey in (False, True):
        seen = picture
        if grey:
            seen = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR).astype(np.uint8)
        if mirrored and random.random() < 0.5:
            seen = np.ascontiguousarray(seen[:, ::-1])
        views.append(_in_other_light(seen, random, 0.0 if grey else _COLOUR))
    return views


def _in_other_light(picture: NDArray[np.uint8], random: np.random.Generator, colour: float) -> NDArray[np.uint8]:
    gamma, gain = np.exp(random.uniform(-_LIGHT, _LIGHT, 2))
    gains = gain * np.exp(random.uniform(-colour, colour, 3))
    levels = (np.arange(256) / 255) ** gamma
    table = np.clip(255 * levels[:, None] * gains, 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table[None]).astype(np.uint8, copy=False)
