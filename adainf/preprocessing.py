"""Preprocessing from a camera's picture to a network's input: one crop, one resize, one normalisation."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from adainf.base.errors import InvalidInputError

__all__ = ["Preprocessing", "crop_box", "looked_at", "prepare", "region_of", "whole_shrink"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The preprocessing that the weights expect.

    size: native resolution, pixels a side. mean, std: per RGB channel, of values in 0..1.
    crop_fraction: side of the central square that is used, relative to the picture's shorter side.
    zoom: how much less of the picture smaller inputs use: the square's side is proportional to the input's, raised to
    this power. 0: always the same square; 1: objects keep their size in input pixels, as the network knows it.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float = 1.0
    zoom: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInputError(f"size {self.size}: must be at least 1 pixel")
        if not all(deviation > 0 for deviation in self.std):
            raise InvalidInputError(f"std {self.std}: each value must be above 0")
        if not 0 < self.crop_fraction <= 1:
            raise InvalidInputError(f"crop fraction {self.crop_fraction}: must be above 0 and at most 1")
        if not 0 <= self.zoom <= 1:
            raise InvalidInputError(f"zoom {self.zoom}: must be from 0 to 1")

    def crop_at(self, resolution: int) -> float:
        """Return the central square's side for an input of this side, as a fraction of the picture's shorter side."""
        return self.crop_fraction * math.pow(min(1.0, resolution / self.size), self.zoom)


def crop_box(height: int, width: int, crop_fraction: float) -> tuple[slice, slice]:
    """Return the rows and columns of the central square."""
    side = max(1, round(min(height, width) * crop_fraction))
    top, left = (height - side) // 2, (width - side) // 2
    return slice(top, top + side), slice(left, left + side)


_LEAST_CUBIC_SHRINK = 1.5


def prepare(
    picture: NDArray[np.uint8],
    resolution: int,
    preprocessing: Preprocessing,
    *,
    mirrored: bool = False,
    squeezed: bool = False,
) -> NDArray[np.float32]:
    """Return the network's normalised RGB input (3, resolution, resolution) for a BGR picture (height, width, 3).

    mirrored: swaps left and right. squeezed: squeezes the whole picture into the square, instead of its central square.
    """
    resized = looked_at(picture, resolution, preprocessing, mirrored=mirrored, squeezed=squeezed)
    prepared = np.empty((3, resolution, resolution), np.float32)
    levels = np.arange(256, dtype=np.float32) / 255
    for channel, (mean, deviation) in enumerate(zip(preprocessing.mean, preprocessing.std, strict=True)):
        plane = np.ascontiguousarray(resized[..., 2 - channel])
        cv2.LUT(plane, (levels - np.float32(mean)) / np.float32(deviation), dst=prepared[channel])
    return prepared


def looked_at(
    picture: NDArray[np.uint8],
    resolution: int,
    preprocessing: Preprocessing,
    *,
    mirrored: bool = False,
    squeezed: bool = False,
    into: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return the cropped and resized BGR picture (resolution, resolution, 3) of a BGR picture (height, width, 3).

    `prepare` only normalises it, and needs four times its bytes. into: the array to write to and return; None
    allocates one.
    """
    height, width = picture.shape[:2]
    seen = picture if squeezed else picture[crop_box(height, width, preprocessing.crop_at(resolution))]
    resized = np.empty((resolution, resolution, 3), np.uint8) if into is None else into
    _resize(seen, resized)
    if mirrored:
        cv2.flip(resized, 1, dst=resized)
    return resized


def region_of(picture: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Return a region of a picture (height, width, 3), at least one pixel of it.

    box: left, top, right and bottom, as shares of the picture's width and height.
    """
    height, width = picture.shape[:2]
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return picture[top:bottom, left:right]


def whole_shrink(side: int, resolution: int) -> int:
    """Return the side, in pixels, of the blocks averaged before interpolation, which still shrinks by at least 1.5."""
    return max(1, int(side / resolution / _LEAST_CUBIC_SHRINK))


def _resize(seen: NDArray[np.uint8], into: NDArray[np.uint8]) -> None:
    # Averaging whole pixels keeps fine patterns from aliasing. The cubic step that follows stays sharp where it shrinks
    # by 1.5 to 3, and blurs where it shrinks by little more than 1 (benchmarks/reports/calibration.md).
    resolution = into.shape[0]
    averaged: MatLike = seen
    (rows, height), (columns, width) = (_whole_blocks(side, resolution) for side in seen.shape[:2])
    if (height, width) != seen.shape[:2]:
        averaged = cv2.resize(seen[rows, columns], (width, height), interpolation=cv2.INTER_AREA)
    cv2.resize(averaged, (resolution, resolution), dst=into, interpolation=cv2.INTER_CUBIC)


def _whole_blocks(side: int, resolution: int) -> tuple[slice, int]:
    """Return the middle of a side that whole blocks of pixels cover, and how many blocks do."""
    shrink = whole_shrink(side, resolution)
    count, start = side // shrink, side % shrink // 2
    return slice(start, start + count * shrink), count
