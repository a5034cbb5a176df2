"""Whose frame comes next, and how long a frame has waited while others had their turn."""

from collections import deque
from collections.abc import Collection, Sequence

from adainfd.answering.session import CameraSession

__all__ = ["Occupied", "in_turn"]

_REMEMBERED = 256


def in_turn(streams: Sequence[CameraSession]) -> list[CameraSession]:
    """Those of the streams with a frame that waits, whose turn it is first; of two, the one that waits longer.

    Each is served in proportion to its priority, and none starves (stride scheduling: Waldspurger and Weihl, 1995):
    whoever is answered counts a turn. Who was away, or had nothing to show, has not saved up turns meanwhile.
    """
    waiting = [(stream, newest) for stream in streams if (newest := stream.camera.newest) is not None]
    if not waiting:
        return []
    now = min(stream.turns for stream, _ in waiting)
    for stream in streams:
        stream.turns = max(stream.turns, now)
    return [stream for stream, _ in sorted(waiting, key=lambda one: (one[0].turns, one[1].at))]


class Occupied:
    """For whom the processor was at work lately, monotonic seconds."""

    def __init__(self) -> None:
        self._spans: deque[tuple[float, float, frozenset[str]]] = deque(maxlen=_REMEMBERED)

    def note(self, begin: float, end: float, cameras: Collection[str]) -> None:
        """It was at work for these cameras; call it in the order of time."""
        self._spans.append((begin, end, frozenset(cameras)))

    def by_others(self, camera: str, since: float, until: float) -> float:
        """Seconds in which it was at work for others than `camera`; what it did for many at once counts by parts."""
        seconds = 0.0
        for begin, end, cameras in reversed(self._spans):
            if end <= since:
                break
            theirs = 1.0 - (camera in cameras) / len(cameras)
            seconds += theirs * max(0.0, min(end, until) - max(begin, since))
        return seconds
