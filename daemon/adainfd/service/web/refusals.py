"""Refused HTTP requests: counted by kind, and logged at a limited rate."""

import math
import threading
import time
import traceback
from collections.abc import Callable, Iterable

from adainfd.base.logs import Logger
from adainfd.wire.observing import Observer

__all__ = ["KINDS", "Refusals"]

KINDS = ("host", "site", "malformed", "slow", "crowded", "failed")
"""Addressed to another host; by another site's page; malformed; too slow; too many at once; a defect of ours."""

_SAID_AGAIN_SECONDS = 60.0


class Refusals(Observer):
    """Counts refusals by kind, from any thread. The main loop logs at most one of each kind a minute."""

    def __init__(
        self, log: Logger | None = None, clock: Callable[[], float] = time.monotonic, kinds: Iterable[str] = KINDS
    ) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(kinds, 0)
        self._last: dict[str, tuple[str, str]] = {}
        self._said_at: dict[str, float] = {}
        self._defects: set[str] = set()

    @property
    def counts(self) -> dict[str, int]:
        """Number of refusals by kind."""
        with self._lock:
            return dict(self._counts)

    def count(self, kind: str, client: str, why: str) -> None:
        """Count a refusal; client: its address; why: the reason in words."""
        with self._lock:
            self._counts[kind] += 1
            self._last[kind] = (client, why)

    def failed(self, client: str, error: Exception) -> None:
        """Count a failure by a defect of ours; log the first at each place in the code at once, with its traceback."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join(f"{frame.filename}:{frame.lineno}" for frame in last)
        self.count("failed", client, f"{type(error).__name__} at {where}")
        with self._lock:
            is_new = where not in self._defects
            self._defects.add(where)
        if is_new and self._log is not None:
            self._log.error("web_failed", client=client, why="".join(traceback.format_exception(error)))

    def turned(self) -> None:
        """Log the last refusal of each kind, if it is time."""
        if self._log is None or not self._last:
            return
        now = self._clock()
        for kind, (client, why) in self._due(now).items():
            self._said_at[kind] = now
            self._log.warning("web_refused", kind=kind, client=client, why=why, refused=self.counts[kind])

    def _due(self, now: float) -> dict[str, tuple[str, str]]:
        """Remove and return the last refusal of each kind that has not been logged for a minute."""
        with self._lock:
            due = [k for k in self._last if now - self._said_at.get(k, -math.inf) >= _SAID_AGAIN_SECONDS]
            return {kind: self._last.pop(kind) for kind in due}
