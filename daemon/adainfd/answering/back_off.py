"""Exponential back-off for a model that has run out of GPU memory because another program took it."""

from dataclasses import dataclass

from adainf.base.hindrances import Hindered

__all__ = ["Parking"]

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0


@dataclass
class Parking(Hindered):
    """The back-off state of the model; the wait doubles from 1 s to 30 s. Times are monotonic seconds."""

    parked: bool = False
    retry_at: float = 0.0
    wait: float = _FIRST_WAIT_SECONDS

    @property
    def hindrance(self) -> str | None:
        """The reason why the model is parked, None if it is not."""
        return "another program has taken the memory of the GPU; the model is tried again" if self.parked else None

    def waits(self, now: float) -> bool:
        """Return whether the model is parked and its next retry is not due yet."""
        return self.parked and now < self.retry_at

    def park(self, now: float) -> None:
        """Park the model after it ran out of memory, and double the next wait."""
        self.parked, self.retry_at = True, now + self.wait
        self.wait = min(2 * self.wait, _LONGEST_WAIT_SECONDS)

    def unpark(self) -> None:
        """Resume after a successful run, and reset the wait."""
        self.parked, self.wait = False, _FIRST_WAIT_SECONDS
