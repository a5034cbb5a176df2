"""Log lines about faulty input, limited in rate however often the fault occurs."""

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
    """Limits log lines per event and culprit, of which there are few; the counts miss nothing. Times are monotonic."""

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
        """Log the event, or only count it once `lines` lines were logged within a minute.

        whose: the culprit, which has an allowance of its own. count: occurrences to add, logged under the name `unit`.
        """
        complaint = self._made.setdefault((event, whose), _Complaint(now, lines, 0, unit, level, values))
        complaint.unsaid += count
        complaint.values = values
        if now - complaint.said_at >= _AGAIN_AFTER_SECONDS:
            complaint.lines = lines
        if complaint.lines > 0:
            self._say(event, complaint, now)

    def review(self, now: float) -> None:
        """Log the events that were only counted, a minute after the last line."""
        for (event, _), complaint in self._made.items():
            if complaint.unsaid and now - complaint.said_at >= _AGAIN_AFTER_SECONDS:
                self._say(event, complaint, now)

    def _say(self, event: str, complaint: _Complaint, now: float) -> None:
        getattr(self._log, complaint.level)(event, **complaint.values, **{complaint.unit: complaint.unsaid})
        complaint.said_at, complaint.unsaid, complaint.lines = now, 0, complaint.lines - 1
