"""What the messages of a daemon tell of it: the one source of its status line, its page and `adainfd watch`."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from adainfd.observing import Observer
from adainfd.wire import messages
from adainfd.wire.messages import Message, Result, Status

__all__ = ["CameraView", "DaemonView", "Overview"]

_WINDOW_SECONDS = 5.0
_HIGH_QUANTILE = 0.95


@dataclass(slots=True)
class CameraView:
    """What is known of one camera. Times are monotonic seconds; recent: when a frame was answered, and in how many ms.

    account: of its frames, as of the last heartbeat.
    """

    name: str
    state: str | None = None
    detail: str | None = None
    result: Result | None = None
    at: float | None = None
    account: messages.Account | None = None
    recent: deque[tuple[float, float]] = field(default_factory=deque)

    def frames_per_second(self, now: float) -> float:
        """Frames answered a second, over the last seconds."""
        return sum(at > now - _WINDOW_SECONDS for at, _ in self.recent) / _WINDOW_SECONDS

    @property
    def offline(self) -> bool:
        """Whether no pictures can come now, though they are wanted."""
        return self.state in _OFFLINE


_OFFLINE = ("connecting", "stalled", "offline")


@dataclass(frozen=True, slots=True)
class DaemonView:
    """What is known of the daemon as a whole. p95_ms: of the last seconds' frames, None where there were none.

    state: the last of started, ready, degraded, stopped. reload_failure: why the last reload failed, None where it
    did not.
    """

    host: str | None
    state: str | None
    detail: str | None
    reload_failure: str | None
    model: messages.Model | None
    cameras: tuple[CameraView, ...]
    frames_per_second: float
    budget: messages.Budget | None
    p95_ms: float | None

    @property
    def offline(self) -> tuple[CameraView, ...]:
        """The cameras without pictures."""
        return tuple(camera for camera in self.cameras if camera.offline)

    def line(self) -> str:
        """All of it on one line, what needs the owner first."""
        count = len(self.cameras)
        figures = [f"{count} camera{'s' if count != 1 else ''}", f"{self.frames_per_second:.0f} fps"]
        if self.budget is not None:
            figures.append(f"budget {self.budget.fraction:.2f} by {self.budget.limited_by}")
        if self.p95_ms is not None:
            figures.append(f"p95 {self.p95_ms:.0f} ms")
        parts = [", ".join(figures)]
        hindered = [self.detail or "the model"] if self.state == "degraded" else []
        hindered += [f"{camera.name} is {camera.state}" for camera in self.offline]
        if hindered:
            parts.insert(0, f"degraded: {', '.join(hindered)}")
        if self.reload_failure:
            parts.insert(0, f"reload failed, the policy before stays: {self.reload_failure}")
        return "; ".join(parts)


class Overview(Observer):
    """Takes in messages, by whoever sends or receives them; `view` may be asked from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._host: str | None = None
        self._state: str | None = None
        self._detail: str | None = None
        self._reload_failure: str | None = None
        self._model: messages.Model | None = None
        self._cameras: dict[str, CameraView] = {}

    def published(self, message: Message) -> None:
        """Take in a message."""
        with self._lock:
            self._host = message.host
            if isinstance(message, Result):
                self._take_result(message, self._clock())
            elif isinstance(message, Status) and message.camera is not None:
                camera = self._camera(message.camera)
                camera.state, camera.detail = message.state, message.detail
                camera.account = message.account or camera.account
            elif isinstance(message, Status):
                self._take_daemon(message)

    def view(self) -> DaemonView:
        """What is known now."""
        now = self._clock()
        with self._lock:
            cameras = tuple(self._cameras.values())
            latencies = sorted(ms for camera in cameras for at, ms in camera.recent if at > now - _WINDOW_SECONDS)
            budgets = [
                camera.result.budget
                for camera in cameras
                if camera.result is not None and camera.at is not None and camera.at > now - _WINDOW_SECONDS
            ]
            return DaemonView(
                host=self._host,
                state=self._state,
                detail=self._detail,
                reload_failure=self._reload_failure,
                model=self._model,
                cameras=cameras,
                frames_per_second=sum(camera.frames_per_second(now) for camera in cameras),
                budget=min(budgets, key=lambda budget: budget.fraction, default=None),
                p95_ms=latencies[int(_HIGH_QUANTILE * (len(latencies) - 1))] if latencies else None,
            )

    def _camera(self, name: str) -> CameraView:
        return self._cameras.setdefault(name, CameraView(name))

    def _take_result(self, result: Result, now: float) -> None:
        camera = self._camera(result.camera)
        camera.result, camera.at = result, now
        camera.recent.append((now, result.timing_ms.total))
        while camera.recent[0][0] <= now - _WINDOW_SECONDS:
            camera.recent.popleft()

    def _take_daemon(self, status: Status) -> None:
        self._model = status.model or self._model
        for name, account in (status.cameras or {}).items():
            camera = self._camera(name)
            camera.account = account
            if camera.state != account.state:
                camera.state, camera.detail = account.state, None
        match status.state:
            case "reload_failed":
                self._reload_failure = status.detail
            case "reloaded":
                self._reload_failure = None
            case _:
                self._state, self._detail = (
                    status.state,
                    status.detail or (self._detail if status.state == self._state else None),
                )
