"""Accounting for the fate of every captured frame."""

from dataclasses import dataclass

__all__ = ["FrameCounts"]


@dataclass(slots=True)
class FrameCounts:
    """Frame counts since the start. Each captured frame is in exactly one of them or still waiting.

    published: recognised, with the result published. reused: answered with an earlier result for the same scene. All
    others were dropped: newer_frame, superseded by a newer frame; too_old, beyond the age limit; over_rate, above the
    camera's `max_fps`; undecodable, not decodable; model_parked, another program held the memory the model needs;
    stopped, the daemon stopped.
    second_looks: how many of the answered frames were processed a second time.
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
        """The number of frames that were not answered, for any reason."""
        unseen = self.newer_frame + self.over_rate + self.undecodable
        return unseen + self.too_old + self.model_parked + self.stopped

    @property
    def waiting(self) -> int:
        """The number of frames captured but not yet decided on."""
        return self.captured - self.published - self.reused - self.dropped
