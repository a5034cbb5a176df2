"""The daemon: starts all parts, runs the loop that joins them, and ends them cleanly."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

import msgspec

from adainf.errors import InvalidInputError, UnavailableError
from adainfd import state
from adainfd.capture.camera import Camera
from adainfd.capture.motion import counted_cells
from adainfd.capture.source import Kind, Source
from adainfd.config import CameraSection, Configuration
from adainfd.control import Policy
from adainfd.control.audit import Audit
from adainfd.control.trace import Header, NoTrace, Recorder, TraceWriter
from adainfd.logs import Logger
from adainfd.observing import Observer, Observers
from adainfd.pipeline import Pipeline, Stream
from adainfd.recogniser import LabelColumns, Recogniser, load_recogniser, read_profile
from adainfd.reloading import Reloader, ReloadRequest
from adainfd.sensors import Sensors
from adainfd.service.notify import for_systemd
from adainfd.service.overview import Overview
from adainfd.stopping import StoppedEarly, StopRequest
from adainfd.wire import messages
from adainfd.wire.announcer import Announcer
from adainfd.wire.gate import Curve
from adainfd.wire.messages import CameraState
from adainfd.wire.publisher import Publisher

__all__ = ["run"]

_HEARTBEAT_SECONDS = 1.0
_OPEN_WITHIN_SECONDS = 15.0
_START_SECONDS = 60.0


def run(
    configure: Callable[[], Configuration],
    log: Logger,
    *,
    seconds: float | None = None,
    record: Path | None = None,
) -> None:
    """Run until every camera has ended, `seconds` have passed since the first frame could come, or a signal.

    configure: gives the configuration, now and again at each SIGHUP. record: where to keep a trace.
    Raises InvalidInputError or UnavailableError, with nothing left running, where it cannot start or every camera
    has failed.
    """
    with (
        StopRequest() as stop,
        ReloadRequest() as reload,
        contextlib.suppress(StoppedEarly),
        contextlib.ExitStack() as parts,
    ):
        configuration = configure()
        policy = Policy.read(configuration.model.policy)
        profile = read_profile(configuration.model)
        observer = parts.enter_context(_observers())
        publish = configuration.publish
        curve = Curve.read(publish.key, publish.clients, log)
        publisher = Publisher(publish.endpoints, observer, curve=curve)
        parts.callback(publisher.close)
        announcer = Announcer(publisher, configuration.publish.host)
        parts.callback(announcer.daemon, "stopped")
        announcer.daemon("started")
        cameras = [parts.enter_context(_started(camera, stop)) for camera in _cameras(configuration)]
        observer.beginning("opening cameras", _START_SECONDS)
        _await_open(cameras)
        publisher.greet()
        recogniser = load_recogniser(configuration, profile, log, observer)
        streams = [
            parts.enter_context(_stream(camera, section, recogniser, log))
            for camera, section in zip(cameras, configuration.camera, strict=True)
        ]
        sensors = Sensors(lambda: _own_processes(cameras), lambda name, why: log.info("unknown", signal=name, why=why))
        parts.callback(sensors.stop)
        recorder = parts.enter_context(_recorder(record, configuration, policy, recogniser))
        pipeline = Pipeline(
            recogniser,
            policy,
            publisher,
            lambda: sensors.latest,
            recorder,
            host=configuration.publish.host,
            top=configuration.publish.top,
            observer=observer,
        )
        sensors.start()
        stop.defer()
        announcer.daemon("ready", model=_model(recogniser))
        log.info("ready", endpoints=publisher.endpoints, **msgspec.to_builtins(_model(recogniser)))
        reloader = Reloader(reload, configure, configuration, pipeline, recorder, announcer, observer, log)
        _Loop(streams, pipeline, publisher, announcer, reloader, observer, stop, log).run(seconds)


class _Loop:
    """Takes what the cameras bring, answers it, and keeps the heart beating."""

    def __init__(
        self,
        streams: Sequence[Stream],
        pipeline: Pipeline,
        publisher: Publisher,
        announcer: Announcer,
        reloader: Reloader,
        observer: Observer,
        stop: StopRequest,
        log: Logger,
    ) -> None:
        self._streams = streams
        self._pipeline = pipeline
        self._publisher = publisher
        self._announcer = announcer
        self._reloader = reloader
        self._observer = observer
        self._stop = stop
        self._log = log
        self._running = list(streams)
        self._broken: set[str] = set()
        self._parked = False

    def run(self, seconds: float | None) -> None:
        now = time.monotonic()
        end = None if seconds is None else now + seconds
        next_beat = now + _HEARTBEAT_SECONDS
        for stream in self._streams:
            stream.camera.play()
            self._announcer.camera(stream.camera, "online")
            self._log.info("camera_online", camera=stream.camera.name, source=str(stream.camera.source))
        while self._running and not self._stop.requested and (end is None or now < end):
            self._publisher.greet()  # after what was sent: sending may swallow the sign that somebody has come
            until = min(at for at in (next_beat, end, self._publisher.greets_at) if at is not None)
            self._wait(max(0.0, until - now))
            self._reloader.reload_if_requested()
            self._answer()
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + _HEARTBEAT_SECONDS
                self._announcer.beat()
            self._observer.turned()
        self._observer.stopping()
        for stream in self._running:
            stream.camera.receive()
            self._announcer.camera(stream.camera, "stopped", audit=stream.audit)
        self._say_counts()
        if all(stream.camera.failure is not None for stream in self._streams):
            raise UnavailableError("; ".join(f"camera {s.camera.name}: {s.camera.failure}" for s in self._streams))

    def _wait(self, seconds: float) -> None:
        connections = [stream.camera.connection for stream in self._running]
        wait([*connections, *self._publisher.readable, self._stop.fileno()], seconds)

    def _answer(self) -> None:
        for stream in self._running:
            stream.camera.receive()
        # The frame that has waited longest comes first, so that no camera starves.
        waiting = [(newest.at, index) for index, s in enumerate(self._running) if (newest := s.camera.newest)]
        for _, index in sorted(waiting):
            self._pipeline.answer(self._running[index], self._more_wait)
        self._tell_parking()
        for stream in self._running:
            self._tell_changes(stream)
        self._running = [stream for stream in self._running if not stream.camera.finished]

    def _more_wait(self) -> bool:
        return any(stream.camera.newest or stream.camera.connection.poll() for stream in self._running)

    def _tell_parking(self) -> None:
        parked = self._pipeline.parking.parked
        if parked != self._parked:
            self._parked = parked
            self._log.warning("model_parked" if parked else "model_back")
            why = "another program has taken the memory of the GPU; the model is tried again"
            self._announcer.daemon("degraded" if parked else "ready", why if parked else None)

    def _tell_changes(self, stream: Stream) -> None:
        camera = stream.camera
        if camera.broke_off is not None and camera.name not in self._broken:
            self._broken.add(camera.name)
            self._log.warning("camera_broke_off", camera=camera.name, source=str(camera.source), why=camera.broke_off)
        if camera.finished:
            outcome: CameraState = "ended" if camera.failure is None else "failed"
            why = camera.failure or camera.broke_off
            self._announcer.camera(camera, outcome, why, audit=stream.audit)
            self._log.info(f"camera_{outcome}", camera=camera.name, **({"why": why} if why else {}))

    def _say_counts(self) -> None:
        for stream in self._streams:
            counts = stream.camera.counts
            self._log.info(
                "frames",
                camera=stream.camera.name,
                captured=counts.captured,
                published=counts.published,
                second_looks=counts.second_looks,
                dropped_newer_frame=counts.newer_frame,
                dropped_too_old=counts.too_old,
                dropped_model_parked=counts.model_parked,
                unanswered_at_stop=counts.pending,
            )


@contextlib.contextmanager
def _observers() -> Iterator[Observer]:
    overview = Overview()
    yield Observers([overview, for_systemd(os.environ, overview)])


def _cameras(configuration: Configuration) -> Iterator[Camera]:
    if not configuration.camera:
        raise InvalidInputError("camera: none given; name one with --source or in the configuration")
    for section in configuration.camera:
        yield Camera(section.name, Source(section.source), section.loop, section.ignore)


@contextlib.contextmanager
def _started(camera: Camera, stop: StopRequest) -> Iterator[Camera]:
    try:
        with stop.held():  # a process that is half started would complain
            camera.start()
        yield camera
    finally:
        camera.close()


def _await_open(cameras: Sequence[Camera]) -> None:
    end = time.monotonic() + _OPEN_WITHIN_SECONDS
    for camera in cameras:
        while not camera.opened and camera.failure is None:
            if not wait([camera.connection], max(0.0, end - time.monotonic())):
                raise UnavailableError(f"source {camera.source}: does not open within {_OPEN_WITHIN_SECONDS:.0f} s")
            camera.receive()
        if camera.failure is not None:
            kind = InvalidInputError if camera.source.kind is Kind.FILE else UnavailableError
            raise kind(camera.failure)


@contextlib.contextmanager
def _stream(camera: Camera, section: CameraSection, recogniser: Recogniser, log: Logger) -> Iterator[Stream]:
    """The camera's stream; what its audit found is kept from one run to the next."""
    kept = state.file("audit", camera.name, str(camera.source), recogniser.profile.weights)
    labels = LabelColumns.of(section.labels, recogniser.engine.class_names, camera.name)
    stream = Stream(camera, labels, counted_cells(section.ignore), Audit.load(kept))
    try:
        yield stream
    finally:
        if stream.audit.frames:
            try:
                stream.audit.save(kept)
            except InvalidInputError as error:
                log.warning("audit_not_kept", camera=camera.name, reason=str(error))


@contextlib.contextmanager
def _recorder(
    path: Path | None, configuration: Configuration, policy: Policy, recogniser: Recogniser
) -> Iterator[Recorder]:
    if path is None:
        yield NoTrace()
        return
    header = Header(
        host=configuration.publish.host,
        recorded_at=time.time(),
        policy=policy.model_dump(mode="json"),
        profile=recogniser.profile.model_dump(mode="json", by_alias=True, exclude={"set_aside"}),
        branches=tuple(str(choice.branch) for choice in recogniser.table.frontier),
        times=recogniser.times,
    )
    with TraceWriter(path, header) as writer:
        yield writer


def _own_processes(cameras: Sequence[Camera]) -> list[int]:
    return [os.getpid(), *(camera.process_id for camera in cameras if camera.process_id is not None)]


def _model(recogniser: Recogniser) -> messages.Model:
    space = recogniser.profile.space
    return messages.Model(
        backbone=recogniser.profile.backbone,
        engine=recogniser.engine.name,
        device=recogniser.engine.device,
        full_branch=str(space.full),
        full_macs=space.macs(space.full),
        full_ms=recogniser.times.get(str(space.full)),
    )
