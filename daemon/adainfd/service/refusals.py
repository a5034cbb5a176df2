"""Who was refused over HTTP and why: counted, and told in the log without filling it."""

import math
import threading
import time
from collections.abc import Callable

from adainfd.logs import Logger
from adainfd.observing import Observer

__all__ = ["KINDS", "Refusals"]

KINDS = ("host", "site", "malformed", "slow", "crowded")
"""Addressed to another host; asked for by another site's page; not understood; too slow; too many at once."""

_SAID_AGAIN_SECONDS = 60.0


class Refusals(Observer):
    """Counts refusals by kind, from any thread; of each kind at most one a minute is logged, from the main loop."""

    def __init__(self, log: Logger | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(KINDS, 0)
        self._last: dict[str, tuple[str, str]] = {}
        self._said_at: dict[str, float] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many there were, by kind."""
        with self._lock:
            return dict(self._counts)

    def count(self, kind: str, client: str, why: str) -> None:
        """One more. client: its address; why: in words."""
        with self._lock:
            self._counts[kind] += 1
            self._last[kind] = (client, why)

    def turned(self) -> None:
        """Log what there is to say."""
        if self._log is None or not self._last:
            return
        now = self._clock()
        for kind, (client, why) in self._due(now).items():
            self._said_at[kind] = now
            self._log.warning("web_refused", kind=kind, client=client, why=why, refused=self.counts[kind])

    def _due(self, now: float) -> dict[str, tuple[str, str]]:
        """The last refusal of each kind of which nothing was said for a while."""
        with self._lock:
            due = [k for k in self._last if now - self._said_at.get(k, -math.inf) >= _SAID_AGAIN_SECONDS]
            return {kind: self._last.pop(kind) for kind in due}
