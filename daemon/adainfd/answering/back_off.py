"""When another program has taken the GPU's memory: the model waits, is tried again ever less often, and is back."""

from dataclasses import dataclass

from adainf.base.hindrances import Hindered

__all__ = ["Parking"]

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0


@dataclass
class Parking(Hindered):
    """Whether the model is parked, and when it may be tried again. Times are monotonic seconds."""

    parked: bool = False
    retry_at: float = 0.0
    wait: float = _FIRST_WAIT_SECONDS

    @property
    def hindrance(self) -> str | None:
        """Why the model is parked."""
        return "another program has taken the memory of the GPU; the model is tried again" if self.parked else None

    def waits(self, now: float) -> bool:
        """Whether the model is parked and not to be tried yet."""
        return self.parked and now < self.retry_at

    def park(self, now: float) -> None:
        """There was no memory: try again later."""
        self.parked, self.retry_at = True, now + self.wait
        self.wait = min(2 * self.wait, _LONGEST_WAIT_SECONDS)

    def unpark(self) -> None:
        """There was memory."""
        self.parked, self.wait = False, _FIRST_WAIT_SECONDS
