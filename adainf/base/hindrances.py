"""What keeps the daemon from doing all that it should: told while it lasts, and counted where something is lost.

A part that may be hindered says so itself; it is asked at every turn of the main loop, and told to try again at every
heartbeat. The status, its line for systemd, the heartbeat and the metrics all say the same.
"""

from collections import Counter
from collections.abc import Mapping

__all__ = ["Hindered", "Hindrances"]


class Hindered:
    """A part of the daemon that may be unable to do all that it should; override what applies."""

    @property
    def hindrance(self) -> str | None:
        """Why it cannot, in a few words; None where it can."""
        return None

    @property
    def defect(self) -> str | None:
        """Why only a restart helps, with all that a report should have; None where it is no defect."""
        return None

    @property
    def lost(self) -> Mapping[str, int]:
        """How many things it has not done since the start, by kind."""
        return {}

    def retry(self) -> None:
        """Try again what could not be done."""


class Hindrances:
    """All parts that may be hindered."""

    def __init__(self) -> None:
        self._parts: list[Hindered] = []

    def watch(self, part: Hindered) -> None:
        """From now on ask this part too."""
        self._parts.append(part)

    @property
    def hindered(self) -> tuple[Hindered, ...]:
        """The parts that cannot do all that they should."""
        return tuple(part for part in self._parts if part.hindrance is not None)

    @property
    def defects(self) -> tuple[str, ...]:
        """What only a restart mends."""
        return tuple(defect for part in self._parts if (defect := part.defect) is not None)

    @property
    def text(self) -> str | None:
        """All reasons on one line; None where there are none."""
        return "; ".join(reason for part in self._parts if (reason := part.hindrance) is not None) or None

    @property
    def lost(self) -> dict[str, int]:
        """How many things were not done since the start, by kind."""
        return dict(sum((Counter(part.lost) for part in self._parts), Counter[str]()))

    def retry(self) -> None:
        """Let every part try again."""
        for part in self._parts:
            part.retry()
