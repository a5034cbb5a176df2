"""What is wrong with what comes in, said once in a while however often it comes."""

from dataclasses import dataclass
from typing import Any

from adainfd.base.logs import Logger

__all__ = ["Complaints"]

_AGAIN_AFTER_SECONDS = 60.0


@dataclass(slots=True)
class _Complaint:
    said_at: float
    lines: int
    unsaid: int
    unit: str
    level: str
    values: dict[str, Any]


class Complaints:
    """Log lines by event and by who is to blame, of which there are few; the counts miss none. Times are monotonic."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._made: dict[tuple[str, str], _Complaint] = {}

    def make(
        self,
        event: str,
        whose: str,
        now: float,
        *,
        count: int = 1,
        unit: str = "times",
        lines: int = 1,
        level: str = "warning",
        **values: Any,
    ) -> None:
        """Say it, or count it where so many lines were said within a minute. count: how many, of unit, it is about."""
        made = self._made.setdefault((event, whose), _Complaint(now, lines, 0, unit, level, values))
        made.unsaid += count
        made.values = values
        if now - made.said_at >= _AGAIN_AFTER_SECONDS:
            made.lines = lines
        if made.lines > 0:
            self._say(event, made, now)

    def review(self, now: float) -> None:
        """Say what was only counted, after a minute."""
        for (event, _), made in self._made.items():
            if made.unsaid and now - made.said_at >= _AGAIN_AFTER_SECONDS:
                self._say(event, made, now)

    def _say(self, event: str, made: _Complaint, now: float) -> None:
        getattr(self._log, made.level)(event, **made.values, **{made.unit: made.unsaid})
        made.said_at, made.unsaid, made.lines = now, 0, made.lines - 1
