"""The playback schedule of a file: frames are due at the pace they were recorded."""

__all__ = ["Playing"]

# A longer gap is more likely a clock change or a splice than a pause to wait out.
_LONGEST_GAP_SECONDS = 60.0


class Playing:
    """The due times (monotonic seconds) of a file's frames, computed from their positions in the file.

    If positions are missing or go backward, or a gap is implausibly long, the mean frame interval is used.
    """

    def __init__(self, interval: float, now: float, position: float | None = None) -> None:
        """interval: mean seconds between frames. now: when the first frame, at `position` (seconds), is due."""
        self._interval = self._shortest = interval
        self._position = position
        self.due = now

    def go_on(self, position: float | None, frames: int = 1) -> None:
        """Advance by `frames` to the frame at `position` and update `due`."""
        step = 0.0 if position is None or self._position is None else position - self._position
        if not 0 < step <= max(_LONGEST_GAP_SECONDS, frames * self._interval):
            step = frames * self._interval
        self._position = position
        self._shortest = min(self._shortest, step / frames)
        self.due += step

    @property
    def decode_at(self) -> float:
        """When to decode the next frame: delayed, so that decoding does not compete with recognition of this one."""
        return self.due + self._shortest / 2
