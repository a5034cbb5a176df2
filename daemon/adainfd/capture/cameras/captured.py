"""A captured frame, as the daemon handles it."""

from dataclasses import dataclass

from adainf.sensors.motion import Sketch

__all__ = ["Captured"]


@dataclass(frozen=True, slots=True)
class Captured:
    """Frame `number` (from 1) of a camera.

    at: monotonic seconds; wall: Unix time. motions: for each recognised part, the share (0..1) that differs from the
    previous frame, None for the first frame.
    """

    number: int
    at: float
    wall: float
    motions: tuple[float | None, ...]
    sketch: Sketch
