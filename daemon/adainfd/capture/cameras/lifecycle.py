"""The states of a camera, their transitions and its retry schedule. Pure: callers pass in the time."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from adainfd.capture.fault import Fault

__all__ = ["Change", "Deed", "Lifecycle", "Limits", "Phase"]

# Allowances within which a process that keeps to its limits responds, even on a busy box where Python starts slowly.
_TIMES_LIMIT = 2.0
_START_SECONDS = 15.0
_READ_SECONDS = 2.0
_MOST_DOUBLINGS = 60


class Phase(StrEnum):
    """The state of a camera: connecting → online ⇄ stalled, any of them → offline → connecting; ended after a file."""

    CONNECTING = "connecting"
    ONLINE = "online"
    STALLED = "stalled"
    OFFLINE = "offline"
    ENDED = "ended"


class Deed(Enum):
    """An action due on a camera: let its process connect, start a new process, or kill one that hangs."""

    CONNECT = "connect"
    RESTART = "restart"
    END = "end"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a camera, in seconds.

    open_seconds: to open. stall_seconds: between two frames. retry_seconds: delay before the first retry; each failure
    in a row doubles it, up to longest_retry_seconds. Random jitter shortens each delay by up to half, so that cameras
    that failed together do not reconnect in step.
    """

    open_seconds: float = 10.0
    stall_seconds: float = 5.0
    retry_seconds: float = 1.0
    longest_retry_seconds: float = 30.0

    @property
    def read_seconds(self) -> float:
        """The time limit of a read: twice stall_seconds, which gives a stalled stream time to recover on its own."""
        return 2 * self.stall_seconds


@dataclass(frozen=True, slots=True)
class Change:
    """A transition to `state`. fault and detail say why no picture is shown; retry_in is the delay until the retry (s).

    failures: consecutive failures; being online for at least the last retry delay resets them.
    """

    state: Phase
    fault: Fault | None = None
    detail: str | None = None
    retry_in: float | None = None
    failures: int = 0


class Lifecycle:
    """The state machine of one camera. Times are monotonic seconds.

    Report events to it, and call `tick` for the action due, at `due` at the latest.
    """

    def __init__(self, limits: Limits, now: float, chance: Callable[[], float] = random.random) -> None:
        """chance: returns numbers from 0 to 1 for the retry jitter."""
        self._limits = limits
        self._chance = chance
        self._online_since: float | None = None
        self._waited = 0.0
        self._failures = 0
        self._gone = False
        self._changes: list[Change] = []
        self.due: float | None = None
        self._enter(Change(Phase.CONNECTING))
        self.expect(now)

    @property
    def state(self) -> Phase:
        """The current state."""
        return self.last.state

    def take_changes(self) -> list[Change]:
        """Return the transitions since the last call, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    def expect(self, now: float) -> None:
        """Start the deadline by which the camera must open and deliver its first frame."""
        opens = _START_SECONDS + _TIMES_LIMIT * (self._limits.open_seconds + self._limits.read_seconds)
        self._heard, self.due = now, now + opens

    def came(self, now: float, interval: float = 0.0) -> None:
        """Record a frame, or a report that frames are passed over. interval: seconds the next frame may take on top."""
        if self.state is not Phase.ONLINE:
            self._online_since = now
            self._enter(Change(Phase.ONLINE, failures=self._failures))
        self._heard, self.due = now, now + self._limits.stall_seconds + interval

    def lost(self, now: float, fault: Fault, detail: str) -> None:
        """Record that the source cannot be opened or has stopped delivering."""
        self._go_offline(now, fault, detail)

    def died(self, now: float, fault: Fault, detail: str) -> None:
        """Record that the process is gone."""
        self._gone = True
        self._go_offline(now, fault, detail)

    def ended(self) -> None:
        """Record that the source reached its end normally."""
        self.due = None
        self._enter(Change(Phase.ENDED))

    def tick(self, now: float) -> Deed | None:
        """Return the action due at `now`, if any, and make the transition it implies."""
        if self.due is None or now < self.due:
            return None
        if self.state is Phase.OFFLINE:
            gone, self._gone = self._gone, False
            self._enter(Change(Phase.CONNECTING, failures=self._failures))
            self.expect(now)
            return Deed.RESTART if gone else Deed.CONNECT
        if self.state is Phase.ONLINE:
            silent = f"no frame for {now - self._heard:.1f} s"
            self._enter(Change(Phase.STALLED, Fault.NO_FRAMES, silent))
            # The process's own read times out before this; if it does not, the process hangs.
            self.due = now + _TIMES_LIMIT * self._limits.read_seconds + _READ_SECONDS
            return None
        self.died(now, Fault.PROCESS_HUNG, f"its process has said nothing for {now - self._heard:.0f} s")
        return Deed.END

    def _go_offline(self, now: float, fault: Fault, detail: str) -> None:
        if self._online_since is not None and now - self._online_since >= self._waited:
            self._failures = 0
        self._online_since = None
        doubled = self._limits.retry_seconds * 2.0 ** min(self._failures, _MOST_DOUBLINGS)
        self._waited = min(self._limits.longest_retry_seconds, doubled)
        self._failures += 1
        retry_in = self._waited * (1 - self._chance() / 2)
        self.due = now + retry_in
        self._enter(Change(Phase.OFFLINE, fault, detail, retry_in, self._failures))

    def _enter(self, change: Change) -> None:
        self.last = change
        self._changes.append(change)
