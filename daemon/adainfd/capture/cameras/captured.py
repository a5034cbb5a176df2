"""A frame as the daemon knows it."""

from dataclasses import dataclass

from adainf.sensors.motion import Sketch

__all__ = ["Captured"]


@dataclass(frozen=True, slots=True)
class Captured:
    """Frame `number` (from 1) of a camera.

    at: monotonic seconds; wall: Unix time. motions: of each part that is recognised, the share (0..1) that differs
    from the frame before, None for the first.
    """

    number: int
    at: float
    wall: float
    motions: tuple[float | None, ...]
    sketch: Sketch
