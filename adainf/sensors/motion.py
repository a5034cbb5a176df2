"""The share of a picture that differs from another, measured on small grey copies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SKETCH_BYTES", "Region", "Sketch", "changed_share", "counted_cells", "sketch", "sketch_of"]

_SIZE = (96, 54)
SKETCH_BYTES = _SIZE[0] * _SIZE[1]
_PICKED = 3  # pixels sampled per cell, along each side
# Sensor noise, averaged over a cell, stays well below this; a moving edge does not.
_CHANGED_LEVELS = 10

Sketch = NDArray[np.uint8]
"""A small grey copy of a picture, (54, 96)."""

Region = tuple[float, float, float, float]
"""Left, top, right and bottom edge, as fractions of the picture's width and height."""


def sketch(picture: NDArray[np.uint8]) -> Sketch:
    """Return the small grey copy of a BGR picture (height, width, 3)."""
    import cv2

    # Nine pixels per cell suffice to average out the noise, and only a fraction of the memory is read. OpenCV samples
    # them five times faster than a strided copy.
    columns, rows = _SIZE
    picked = cv2.resize(picture, (_PICKED * columns, _PICKED * rows), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(cv2.cvtColor(picked, cv2.COLOR_BGR2GRAY), _SIZE, interpolation=cv2.INTER_AREA)
    grey: Sketch = small.astype(np.uint8, copy=False)
    return grey


def sketch_of(rows: bytes) -> Sketch:
    """Return the sketch in `SKETCH_BYTES` sent by another process, row by row."""
    return np.frombuffer(rows, np.uint8).reshape(_SIZE[::-1])


def counted_cells(ignored: Sequence[Region], within: Region | None = None) -> NDArray[np.bool_] | None:
    """Return the cells of a sketch (54, 96) `within` a region and outside the ignored ones; None means all."""
    if not ignored and within is None:
        return None
    counted = np.ones(_SIZE[::-1], np.bool_)
    if within is not None:
        counted[:] = False
        counted[_cells(within)] = True
    for region in ignored:
        counted[_cells(region)] = False
    return counted


def _cells(region: Region) -> tuple[slice, slice]:
    width, height = _SIZE
    left, top, right, bottom = region
    rows = slice(int(top * height), int(np.ceil(bottom * height)))
    return rows, slice(int(left * width), int(np.ceil(right * width)))


def changed_share(before: Sketch, now: Sketch, counted: NDArray[np.bool_] | None = None) -> float:
    """Return the share (0..1) of the counted cells whose level changed.

    A change of exposure or a flickering lamp shifts or scales all levels alike and does not count: whichever of shift
    and scaling explains more of the picture is removed first.
    """
    if counted is not None:
        before, now = before[counted], now[counted]
        if not before.size:
            return 0.0
    low_before, middle_before, high_before = _quartiles(np.bincount(before.ravel(), minlength=256))
    low_now, middle_now, high_now = _quartiles(np.bincount(now.ravel(), minlength=256))
    gain = (high_now - low_now) / (high_before - low_before) if high_before > low_before else 1.0
    scaled = (_LEVELS - middle_before) * min(max(gain, 0.5), 2.0) + middle_now
    beyond_scaled = np.count_nonzero(np.abs(now - scaled.take(before)) > _CHANGED_LEVELS)
    differences = np.bincount((now.astype(np.int16) - before).ravel() + 255, minlength=511)
    _, shift, _ = _quartiles(differences)
    within_shifted = differences[max(0, shift - _CHANGED_LEVELS) : shift + _CHANGED_LEVELS + 1].sum()
    return float(min(beyond_scaled, before.size - within_shifted)) / before.size


_LEVELS = np.arange(256, dtype=np.float32)
_QUARTERS = np.array((0.25, 0.5, 0.75))


def _quartiles(counts: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return the quartiles of a histogram: far quicker than sorting the values while a frame waits."""
    cumulated = counts.cumsum()
    low, middle, high = cumulated.searchsorted(cumulated[-1] * _QUARTERS)
    return int(low), int(middle), int(high)
