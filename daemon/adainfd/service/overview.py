"""A daemon's state from its messages: the one source of its status line, its page and `adainfd watch`."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from adainfd.wire import messages
from adainfd.wire.messages import Message, Result, State, Status, ViewState
from adainfd.wire.observing import Observer

__all__ = ["CameraView", "DaemonView", "Overview"]

_WINDOW_SECONDS = 5.0
_HIGH_QUANTILE = 0.95
_HINDERED = ("connecting", "stalled", "offline")
_NO_PICTURES = ("stalled", "offline", "ended")
# A malicious publisher names cameras without end, and sends as fast as it can.
_FORGOTTEN_AFTER_SECONDS = 60.0
_MOST_RECENT = 5000
"""Answers of one camera in the window: a hundred regions at ten pictures a second."""
_MOST_STATES = 100
"""Views of one camera whose states are held."""


@dataclass(frozen=True, slots=True)
class CameraView:
    """The state of one camera.

    account: its frame counts. age: seconds since the last result. p95_ms: 95th percentile of the total time over the
    last five seconds. frames_per_second: answered frames over the last five seconds, or since the first answer. states:
    those of its views that have classes of their own.
    """

    name: str
    state: str | None
    detail: str | None
    result: messages.Result | None
    account: messages.Account | None
    age: float | None
    frames_per_second: float
    p95_ms: float | None
    states: tuple[ViewState, ...] = ()

    @property
    def hindered(self) -> bool:
        """Whether the camera should deliver pictures, but cannot now."""
        return self.state in _HINDERED


@dataclass(frozen=True, slots=True)
class DaemonView:
    """The state of the daemon as a whole.

    state: the last of started, ready, degraded, stopped. budget: the smallest of the cameras' current budgets.
    reload_failure: why the last reload failed, None where it did not. subscriptions: topics, over all clients.
    refused: clients that failed authentication. hung_up: connections closed by the limits on readers.
    recording: the trace being written, None where there is none.
    """

    host: str | None
    state: str | None
    detail: str | None
    reload_failure: str | None
    model: messages.Model | None
    cameras: tuple[CameraView, ...]
    frames_per_second: float
    budget: messages.ResultBudget | None
    p95_ms: float | None
    subscriptions: int | None = None
    refused: int | None = None
    hung_up: int | None = None
    recording: str | None = None

    @property
    def hindrances(self) -> tuple[str, ...]:
        """What keeps the daemon or its cameras from working fully, a few words each."""
        of_the_daemon = (self.detail or "the model is parked",) if self.state == "degraded" else ()
        return (*of_the_daemon, *(f"{camera.name} is {camera.state}" for camera in self.cameras if camera.hindered))

    def line(self) -> str:
        """Return a summary on one line, with what needs the owner's attention first."""
        count = len(self.cameras)
        figures = [f"{count} camera{'s' if count != 1 else ''}", f"{self.frames_per_second:.0f} fps"]
        if self.budget is not None:
            figures.append(f"budget {self.budget.fraction:.2f} by {self.budget.limited_by}")
        if self.p95_ms is not None:
            figures.append(f"p95 {self.p95_ms:.0f} ms")
        parts = [", ".join(figures)]
        if self.recording is not None:
            parts.append(f"recording {self.recording}")
        if self.hindrances:
            parts.insert(0, f"degraded: {', '.join(self.hindrances)}")
        if self.reload_failure:
            parts.insert(0, f"reload failed, the policy before stays: {self.reload_failure}")
        return "; ".join(parts)


@dataclass(slots=True)
class _Known:
    """The state of one camera.

    at: time of the last result; heard_at: time of the last message; both in monotonic seconds. recent: time, frame
    number and total ms of each answer; a frame with regions or a second look has several. observed_from: time of the
    first answer of this run of the daemon.
    """

    state: str | None = None
    detail: str | None = None
    result: Result | None = None
    account: messages.Account | None = None
    states: dict[str | None, ViewState] = field(default_factory=dict)
    at: float | None = None
    heard_at: float = 0.0
    started_at: float | None = None
    observed_from: float = 0.0
    recent: deque[tuple[float, int, float]] = field(default_factory=lambda: deque(maxlen=_MOST_RECENT))

    def view(self, name: str, now: float) -> CameraView:
        self._forget_old(now)
        return CameraView(
            name=name,
            state=self.state,
            detail=self.detail,
            result=self.result,
            account=self.account,
            age=None if self.at is None else now - self.at,
            frames_per_second=self.frames_per_second(now),
            p95_ms=_high(self.latencies),
            states=tuple(self.states.values()),
        )

    def take_state(self, state: ViewState) -> None:
        if state.region in self.states or len(self.states) < _MOST_STATES:
            self.states[state.region] = state

    def take(self, result: Result, now: float) -> None:
        if result.started_at != self.started_at:
            self.started_at, self.observed_from = result.started_at, now
            self.recent.clear()
        self.result, self.at = result, now
        self.recent.append((now, result.frame, result.timing_ms.total))
        self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        while self.recent and self.recent[0][0] <= now - _WINDOW_SECONDS:
            self.recent.popleft()

    def frames_per_second(self, now: float) -> float:
        observed = now - self.observed_from
        frames = len({frame for _, frame, _ in self.recent})
        if observed >= _WINDOW_SECONDS:
            return frames / _WINDOW_SECONDS
        # The interval begins with the first frame, so that frame does not count.
        return (frames - 1) / observed if frames > 1 and observed > 0 else 0.0

    @property
    def latencies(self) -> list[float]:
        return [ms for _, _, ms in self.recent]


class Overview(Observer):
    """The daemon's state, built from its messages at the publisher or at a subscriber; readable from any thread.

    It holds up to 256 cameras: more are ignored until one of these has been silent for a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._host: str | None = None
        self._state: str | None = None
        self._detail: str | None = None
        self._reload_failure: str | None = None
        self._model: messages.Model | None = None
        self._cameras: dict[str, _Known] = {}
        self._subscriptions: int | None = None
        self._refused: int | None = None
        self._hung_up: int | None = None
        self._recording: str | None = None
        self._runs = False
        self._answers = False
        self._broken = False

    @property
    def ready(self) -> bool:
        """Whether the daemon works: it has answered a frame, or lacks nothing but pictures."""
        if self._state == "stopped" or self._broken:
            return False
        with self._lock:
            return self._answers or (
                self._runs
                and bool(self._cameras)
                and all(camera.state in _NO_PICTURES for camera in self._cameras.values())
            )

    def broken(self) -> None:
        """Report the daemon as not ready from now on: a part of it has ended."""
        self._broken = True

    def published(self, message: Message) -> None:
        """Update the state from a message."""
        with self._lock:
            self._host = message.host
            if isinstance(message, Result):
                self._take_result(message)
            elif isinstance(message, State):
                self._camera(message.camera).take_state(
                    ViewState(message.camera, message.region, message.state, message.score, message.since)
                )
            elif isinstance(message, Status) and message.camera is not None:
                self._take_camera(message.camera, message)
            elif isinstance(message, Status):
                self._take_daemon(message)

    def view(self) -> DaemonView:
        """Return the current state."""
        now = self._clock()
        with self._lock:
            cameras = tuple(known.view(name, now) for name, known in sorted(self._cameras.items()))
            latencies = [ms for known in self._cameras.values() for ms in known.latencies]
            fresh = [c.result.budget for c in cameras if c.result and c.age is not None and c.age < _WINDOW_SECONDS]
            return DaemonView(
                host=self._host,
                state=self._state,
                detail=self._detail,
                reload_failure=self._reload_failure,
                model=self._model,
                cameras=cameras,
                frames_per_second=sum(camera.frames_per_second for camera in cameras),
                budget=min(fresh, key=lambda budget: budget.fraction, default=None),
                p95_ms=_high(latencies),
                subscriptions=self._subscriptions,
                refused=self._refused,
                hung_up=self._hung_up,
                recording=self._recording,
            )

    def _camera(self, name: str) -> _Known:
        """Return the camera's record; a throwaway one where there are too many cameras."""
        now = self._clock()
        known = self._cameras.get(name)
        if known is None:
            known = _Known()
            if len(self._cameras) < messages.MOST_CAMERAS or self._forget_one(now):
                self._cameras[name] = known
        known.heard_at = now
        return known

    def _forget_one(self, now: float) -> bool:
        """Remove the camera silent for the longest time, if that is a minute or more; return whether it was."""
        name = min(self._cameras, key=lambda name: self._cameras[name].heard_at)
        if now - self._cameras[name].heard_at < _FORGOTTEN_AFTER_SECONDS:
            return False
        del self._cameras[name]
        return True

    def _take_result(self, result: Result) -> None:
        self._answers = True
        self._camera(result.camera).take(result, self._clock())

    def _take_camera(self, name: str, status: Status) -> None:
        camera = self._camera(name)
        camera.state, camera.detail = status.state, status.detail
        camera.account = status.account or camera.account

    def _take_daemon(self, status: Status) -> None:
        self._model = status.model or self._model
        self._subscriptions = status.subscriptions
        self._refused = status.refused
        self._hung_up = status.hung_up
        if status.lost is not None:  # only a heartbeat has these two
            self._recording = status.recording
        for name, account in (status.cameras or {}).items():
            camera = self._camera(name)
            camera.account = account
            if camera.state != account.state:
                camera.state, camera.detail = account.state, None
        if status.states is not None:
            for known in self._cameras.values():
                known.states.clear()
            for state in status.states:
                self._camera(state.camera).take_state(state)
        match status.state:
            case "reload_failed":
                self._reload_failure = status.detail
            case "reloaded":
                self._reload_failure = None
            case "ready" | "degraded":
                self._runs = True
                # A heartbeat repeats the state without its detail.
                self._detail = status.detail or (self._detail if status.state == self._state else None)
                self._state = status.state
            case _:
                self._state, self._detail = status.state, status.detail


def _high(latencies: list[float]) -> float | None:
    return sorted(latencies)[int(_HIGH_QUANTILE * (len(latencies) - 1))] if latencies else None
