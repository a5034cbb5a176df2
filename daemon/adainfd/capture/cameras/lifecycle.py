"""The states of a camera, what leads from one to the next, and when it is tried again. Pure: it is told the time."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from adainfd.capture.fault import Fault

__all__ = ["Change", "Deed", "Lifecycle", "Limits", "State"]

# A process that keeps to its own limits is through within these, even on a busy box where a fresh Python takes long.
_TIMES_LIMIT = 2.0
_START_SECONDS = 15.0
_READ_SECONDS = 2.0
_MOST_DOUBLINGS = 60


class State(StrEnum):
    """What a camera does: connecting → online ⇄ stalled, any of them → offline → connecting; a file's end is ended."""

    CONNECTING = "connecting"
    ONLINE = "online"
    STALLED = "stalled"
    OFFLINE = "offline"
    ENDED = "ended"


class Deed(Enum):
    """What is to be done about a camera: let its process connect, start a new one, or end one that hangs."""

    CONNECT = "connect"
    RESTART = "restart"
    END = "end"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a camera may take, in seconds.

    open_seconds: to open. stall_seconds: between two frames. retry_seconds: until it is tried again, doubled from
    failure to failure up to longest_retry_seconds; by chance up to half of it is left out, so that cameras that went
    down together do not come back in step.
    """

    open_seconds: float = 10.0
    stall_seconds: float = 5.0
    retry_seconds: float = 1.0
    longest_retry_seconds: float = 30.0

    @property
    def read_seconds(self) -> float:
        """How long a read may take: a stream that stalls is given as much time again to go on by itself."""
        return 2 * self.stall_seconds


@dataclass(frozen=True, slots=True)
class Change:
    """The camera went into `state`; fault and detail say why where it shows nothing, retry_in (seconds) what follows.

    failures: in a row, since it was last online for longer than it had been waited for.
    """

    state: State
    fault: Fault | None = None
    detail: str | None = None
    retry_in: float | None = None
    failures: int = 0


class Lifecycle:
    """The state of one camera. Times are monotonic seconds.

    Tell it what happens; ask `tick` for what is to be done, at the latest when `due` comes.
    """

    def __init__(self, limits: Limits, now: float, chance: Callable[[], float] = random.random) -> None:
        """chance: gives numbers from 0 to 1."""
        self._limits = limits
        self._chance = chance
        self._online_since: float | None = None
        self._waited = 0.0
        self._failures = 0
        self._gone = False
        self._changes: list[Change] = []
        self.due: float | None = None
        self._enter(Change(State.CONNECTING))
        self.expect(now)

    @property
    def state(self) -> State:
        """Where it is."""
        return self.last.state

    def take_changes(self) -> list[Change]:
        """The changes since this was asked last, in their order."""
        changes, self._changes = self._changes, []
        return changes

    def expect(self, now: float) -> None:
        """From now on it is expected to open and to bring frames."""
        opens = _START_SECONDS + _TIMES_LIMIT * (self._limits.open_seconds + self._limits.read_seconds)
        self._heard, self.due = now, now + opens

    def came(self, now: float, interval: float = 0.0) -> None:
        """A frame came, or word that frames come and are passed over; interval: seconds that the next may take."""
        if self.state is not State.ONLINE:
            self._online_since = now
            self._enter(Change(State.ONLINE, failures=self._failures))
        self._heard, self.due = now, now + self._limits.stall_seconds + interval

    def lost(self, now: float, fault: Fault, detail: str) -> None:
        """It cannot be opened, or brings nothing any more."""
        self._go_offline(now, fault, detail)

    def died(self, now: float, fault: Fault, detail: str) -> None:
        """Its process is gone."""
        self._gone = True
        self._go_offline(now, fault, detail)

    def ended(self) -> None:
        """Nothing more will come, and nothing is amiss."""
        self.due = None
        self._enter(Change(State.ENDED))

    def tick(self, now: float) -> Deed | None:
        """What is to be done now."""
        if self.due is None or now < self.due:
            return None
        if self.state is State.OFFLINE:
            gone, self._gone = self._gone, False
            self._enter(Change(State.CONNECTING, failures=self._failures))
            self.expect(now)
            return Deed.RESTART if gone else Deed.CONNECT
        if self.state is State.ONLINE:
            silent = f"no frame for {now - self._heard:.1f} s"
            self._enter(Change(State.STALLED, Fault.NO_FRAMES, silent))
            # Its own read ends first; where that does not happen the process hangs.
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
        self._enter(Change(State.OFFLINE, fault, detail, retry_in, self._failures))

    def _enter(self, change: Change) -> None:
        self.last = change
        self._changes.append(change)
