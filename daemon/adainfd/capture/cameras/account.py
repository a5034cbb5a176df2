"""What became of every frame of a camera."""

from dataclasses import dataclass

__all__ = ["FrameCounts"]


@dataclass(slots=True)
class FrameCounts:
    """Frames by fate, since the start. Each captured frame is in exactly one of them, or still waits.

    published: recognised, and said so. reused: answered by what was said of the same scene before. The others were
    dropped: newer_frame, a newer one was there; too_old, beyond the age limit; over_rate, more than the camera's
    `max_fps`; undecodable, it could not be decoded; model_parked, another program held the memory that the model needs;
    stopped, the daemon stopped.
    second_looks: of the answered ones, how many were looked at again.
    """

    captured: int = 0
    published: int = 0
    reused: int = 0
    newer_frame: int = 0
    too_old: int = 0
    over_rate: int = 0
    model_parked: int = 0
    undecodable: int = 0
    stopped: int = 0
    second_looks: int = 0

    @property
    def dropped(self) -> int:
        """Frames that were not answered, for whatever cause."""
        unseen = self.newer_frame + self.over_rate + self.undecodable
        return unseen + self.too_old + self.model_parked + self.stopped

    @property
    def waiting(self) -> int:
        """Captured and not yet decided on."""
        return self.captured - self.published - self.reused - self.dropped
