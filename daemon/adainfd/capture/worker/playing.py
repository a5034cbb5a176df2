"""When the frames of a file are due: as they were filmed."""

__all__ = ["Playing"]

# Longer gaps are rather a clock that was set, or pieces joined, than something to wait for.
_LONGEST_GAP_SECONDS = 60.0


class Playing:
    """Is told each frame's place in the file, and tells its time, monotonic seconds.

    Where places are missing or go backward, or a gap is beyond belief, frames come at the file's mean rate.
    """

    def __init__(self, interval: float, now: float, position: float | None = None) -> None:
        """interval: seconds from frame to frame in the mean. now: when the first, at `position` (seconds), is due."""
        self._interval = self._shortest = interval
        self._position = position
        self.due = now

    def go_on(self, position: float | None, frames: int = 1) -> None:
        """So many frames further, at `position`: that one is due now."""
        step = 0.0 if position is None or self._position is None else position - self._position
        if not 0 < step <= max(_LONGEST_GAP_SECONDS, frames * self._interval):
            step = frames * self._interval
        self._position = position
        self._shortest = min(self._shortest, step / frames)
        self.due += step

    @property
    def decode_at(self) -> float:
        """When to decode the next frame: not at once, for that would take a processor from this one's recognition."""
        return self.due + self._shortest / 2
