"""What a camera's process and the daemon tell each other."""

from dataclasses import dataclass

from adainfd.capture.fault import Fault
from adainfd.capture.motion import Sketch

__all__ = ["BrokeOff", "Captured", "Ended", "Go", "Lost", "Opened", "Passed"]


@dataclass(frozen=True, slots=True)
class Opened:
    """Pictures of `shape` will come through slots whose descriptor follows; `interval` seconds apart if they are paced.

    A live source tells no such thing: what it claims to send a second is often wrong.
    """

    shape: tuple[int, int, int]
    interval: float


@dataclass(frozen=True, slots=True)
class Captured:
    """Frame `number` (from 1) is in its slot.

    at: monotonic seconds; wall: Unix time. motions: of each part that is recognised, the share (0..1) that differs
    from the frame before, None for the first.
    """

    number: int
    at: float
    wall: float
    motions: tuple[float | None, ...]
    sketch: Sketch


@dataclass(frozen=True, slots=True)
class Passed:
    """So many frames were captured, numbered and passed over: too many for the camera's rate, unheard, undecodable.

    `Undecodable`s name the last.
    """

    over_rate: int
    newer_frame: int
    undecodable: int


@dataclass(frozen=True, slots=True)
class BrokeOff:
    """A file ended before the length it claims; said once, a looping camera goes on with what there is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The source cannot be opened or shows nothing any more; the process waits for `Go`."""

    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class Go:
    """From the daemon: open the source where it is not open, and deliver."""
