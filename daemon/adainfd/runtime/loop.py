"""The main loop: receives frames, answers them, and publishes the heartbeat."""

import time
from collections.abc import Callable, Container, Sequence

from adainf.base.hindrances import Hindered, Hindrances
from adainf.recogniser import Recogniser
from adainfd.answering.fair_queue import in_turn
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.results import present, states
from adainfd.answering.session import CameraSession
from adainfd.base.logs import Logger
from adainfd.base.stopping import StopRequest
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.cameras.lifecycle import Change, Phase
from adainfd.model.warm_up import Preparation
from adainfd.runtime.announcer import Announcer
from adainfd.runtime.readable import Readable
from adainfd.runtime.reloading import Reloader
from adainfd.tracing.recording import Recording
from adainfd.wire.observing import Observer
from adainfd.wire.serving.publisher import Publisher

__all__ = ["Loop"]

_HEARTBEAT_SECONDS = 1.0


class Loop:
    """The main loop, which runs until every camera has ended, its time is up, or a stop is requested."""

    def __init__(
        self,
        streams: Sequence[CameraSession],
        pipeline: Pipeline,
        preparation: Preparation,
        take_up: Callable[[Recogniser], None],
        publisher: Publisher,
        announcer: Announcer,
        reloader: Reloader,
        recording: Recording,
        hindrances: Hindrances,
        observer: Observer,
        stop: StopRequest,
        log: Logger,
    ) -> None:
        """take_up: called with each new recogniser."""
        self._streams = streams
        self._cameras = [stream.camera for stream in streams]
        self._pipeline = pipeline
        self._preparation = preparation
        self._take_up = take_up
        self._idle_since: float | None = None
        self._publisher = publisher
        self._announcer = announcer
        self._reloader = reloader
        self._recording = recording
        self._hindrances = hindrances
        self._observer = observer
        self._stop = stop
        self._log = log
        self._running = list(streams)
        self._broken: set[str] = set()
        self._unconfined: set[str] = set()
        self._faults: dict[str, str | None] = {}
        self._parked = False
        self._hindered: tuple[Hindered, ...] = ()
        self._readable, self._cameras_readable = Readable(), Readable()

    def run(self, seconds: float | None) -> None:
        """Run for at most `seconds`, then account for every frame."""
        now = time.monotonic()
        end = None if seconds is None else now + seconds
        next_beat = now + _HEARTBEAT_SECONDS
        for stream in self._streams:
            self._pipeline.introduce(stream)
            stream.camera.receive()
            stream.camera.play()
        self._attend((), every_camera=True)
        while self._running and not self._stop.requested and (end is None or now < end):
            self._publisher.resend_last()  # after sending, which may consume the event that signals a new subscriber
            readable = self._wait(next_beat if end is None else min(next_beat, end))
            self._reloader.reload_if_requested()
            self._attend(readable, every_camera=time.monotonic() >= next_beat)
            self._answer()
            self._prepare()
            self._tell_hindrances()
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + _HEARTBEAT_SECONDS
                self._beat()
            self._observer.turned()
        self._observer.stopping()
        self._settle()

    def _beat(self) -> None:
        self._hindrances.retry()
        streams = self._streams
        self._announcer.beat(self._cameras, present(streams), states(streams), self._hindrances, self._recording.state)
        for stream in self._running:
            if stream.camera.lifecycle.state is not Phase.ONLINE:
                self._pipeline.blind(stream)

    def _wait(self, until: float) -> set[int]:
        """Wait for the next event or deadline, at most until `until`; return the readable descriptors."""
        dues = [due for stream in self._running if (due := stream.camera.due) is not None]
        if (due := self._preparation.due(self._idle_since)) is not None:
            dues.append(due)
        if self._publisher.resends_at is not None:
            dues.append(self._publisher.resends_at)
        seconds = 0.0 if self._frame_waits() else max(0.0, min([until, *dues]) - time.monotonic())
        others = [connection.fileno() for connection in self._preparation.connections]
        descriptors = [*self._connected(), *others, *self._publisher.readable, self._stop.fileno()]
        return self._readable.among(descriptors, seconds)

    def _attend(self, readable: Container[int], *, every_camera: bool) -> None:
        """Receive from the cameras, supervise them, and publish their changes of state.

        readable: file descriptors. every_camera: include cameras with nothing to read and nothing due.
        """
        now = time.monotonic()
        for stream in self._running:
            if not every_camera and not _needs_attention(stream.camera, readable, now):
                continue
            stream.camera.receive()
            stream.camera.supervise(time.monotonic())
            self._tell_changes(stream)
            if stream.camera.finished:
                self._pipeline.let_go(stream)
        self._running = [stream for stream in self._running if not stream.camera.finished]

    def _answer(self) -> None:
        waiting = in_turn(self._running)
        if waiting:
            self._pipeline.answer(waiting, self._more_wait)
            self._idle_since = time.monotonic()
        self._tell_parking()

    def _prepare(self) -> None:
        better = self._preparation.go_on(None if self._more_wait() else self._idle_since, time.monotonic())
        if better is not None:
            self._take_up(better)

    def _more_wait(self) -> bool:
        return self._frame_waits() or bool(self._cameras_readable.among(self._connected(), 0.0))

    def _frame_waits(self) -> bool:
        return any(stream.camera.newest is not None for stream in self._running)

    def _connected(self) -> list[int]:
        return [receiver.fileno() for stream in self._running if (receiver := stream.camera.connection) is not None]

    def _tell_parking(self) -> None:
        parked = self._pipeline.parking.parked
        if parked != self._parked:
            self._parked = parked
            self._log.warning("model_parked" if parked else "model_back")

    def _tell_hindrances(self) -> None:
        """Publish at once when a hindrance begins or ends; heartbeats carry the counts of lost items."""
        hindered = self._hindrances.hindered
        if hindered != self._hindered:
            for defect in (part.defect for part in hindered if part not in self._hindered):
                if defect is not None:
                    self._log.error("broken", why=defect)
            self._hindered = hindered
            if self._hindrances.defects:
                self._observer.broken()
            self._announcer.daemon("degraded" if hindered else "ready", self._hindrances.text)

    def _tell_changes(self, stream: CameraSession) -> None:
        camera = stream.camera
        if camera.broke_off is not None and camera.name not in self._broken:
            self._broken.add(camera.name)
            self._log.warning("camera_broke_off", camera=camera.name, source=str(camera.source), why=camera.broke_off)
        if lacking := set(camera.unconfined) - self._unconfined:
            self._unconfined |= lacking
            self._log.warning("not_confined", camera=camera.name, detail="; ".join(sorted(lacking)))
        for skipped in camera.take_undecodable():
            fields = {"camera": camera.name, "source": str(camera.source)}
            self._log.warning("camera_undecodable", **fields, what=skipped.what, why=skipped.why)
        if camera.lifecycle.state is Phase.ENDED and not camera.finished:
            return  # answer its last frame first
        for change in camera.lifecycle.take_changes():
            self._announcer.camera(camera, change, audits=stream.audits)
            self._log_change(stream, change)

    def _log_change(self, stream: CameraSession, change: Change) -> None:
        """Log a change of state; repeated failures with the same fault are logged only once."""
        camera = stream.camera
        fields = {"camera": camera.name, "source": str(camera.source)}
        before = self._faults.get(camera.name)
        match change.state:
            case Phase.ONLINE:
                self._faults[camera.name] = None
                self._log.info("camera_online", **fields, failures=change.failures)
            case Phase.STALLED | Phase.OFFLINE if change.fault is not None and change.fault != before:
                self._faults[camera.name] = change.fault
                self._log.warning(f"camera_{change.state}", **fields, code=change.fault, why=change.detail)
            case Phase.ENDED:
                why = {"why": camera.broke_off} if camera.broke_off else {}
                self._log.info("camera_ended", camera=camera.name, **why)

    def _settle(self) -> None:
        """Stop every camera, count its pending frames as dropped, and log each camera's frame account."""
        for stream in self._running:
            stream.camera.receive()
            stream.camera.give_up()
            self._pipeline.let_go(stream)
            self._tell_changes(stream)
            self._announcer.camera_stopped(stream.camera, audits=stream.audits)
        for camera in self._cameras:
            account = camera.account
            self._log.info(
                "frames",
                camera=camera.name,
                captured=account.captured,
                published=account.published,
                reused=account.reused,
                second_looks=account.second_looks,
                dropped_newer_frame=account.newer_frame,
                dropped_too_old=account.too_old,
                dropped_over_rate=account.over_rate,
                dropped_undecodable=account.undecodable,
                dropped_model_parked=account.model_parked,
                dropped_stopped=account.stopped,
            )


def _needs_attention(camera: Camera, readable: Container[int], now: float) -> bool:
    """Return whether a camera has no process, has something to read, or has something due."""
    receiver, due = camera.connection, camera.due
    return receiver is None or receiver.fileno() in readable or (due is not None and due <= now)
