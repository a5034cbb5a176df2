"""Fair queueing of cameras by priority, and how long a frame has waited while others were answered."""

from collections import deque
from collections.abc import Collection, Sequence

from adainfd.answering.session import CameraSession

__all__ = ["Occupied", "in_turn"]

_REMEMBERED = 256


def in_turn(streams: Sequence[CameraSession]) -> list[CameraSession]:
    """Return the streams with a pending frame, next first; among equals, the one whose frame was captured first.

    Cameras are served in proportion to their priority and none starves (stride scheduling: Waldspurger and Weihl,
    1995): answering a frame adds 1/priority to the camera's virtual time, `turns`. A camera that was idle starts at
    the current minimum, so it accumulates no credit.
    """
    waiting = [(stream, newest) for stream in streams if (newest := stream.camera.newest) is not None]
    if not waiting:
        return []
    now = min(stream.turns for stream, _ in waiting)
    for stream in streams:
        stream.turns = max(stream.turns, now)
    return [stream for stream, _ in sorted(waiting, key=lambda entry: (entry[0].turns, entry[1].at))]


class Occupied:
    """The last 256 spans of work, in monotonic seconds, with the cameras they were for."""

    def __init__(self) -> None:
        self._spans: deque[tuple[float, float, frozenset[str]]] = deque(maxlen=_REMEMBERED)

    def note(self, begin: float, end: float, cameras: Collection[str]) -> None:
        """Add a span of work for these cameras; spans must be added in chronological order."""
        self._spans.append((begin, end, frozenset(cameras)))

    def by_others(self, camera: str, since: float, until: float) -> float:
        """Return the seconds of work for cameras other than `camera`; a batch is split evenly among its cameras."""
        seconds = 0.0
        for begin, end, cameras in reversed(self._spans):
            if end <= since:
                break
            share = 1.0 - (camera in cameras) / len(cameras)
            seconds += share * max(0.0, min(end, until) - max(begin, since))
        return seconds
