"""The daemon: starts all parts, runs the main loop, and shuts them down cleanly."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path

import msgspec

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.base.hindrances import Hindered, Hindrances
from adainf.control import Decider
from adainf.debouncing.presence import Presence
from adainf.debouncing.states import StateTracker
from adainf.engines import devices
from adainf.engines.processor import usable_processors
from adainf.process import home, limits
from adainf.profile import Profile
from adainf.recogniser import LabelColumns, Recogniser
from adainf.sensors import Sensors
from adainf.sensors.motion import Region, counted_cells
from adainfd.answering.audit import Audit
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.base import state
from adainfd.base.keeping import Keeper
from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.base.stopping import StopRequest
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.sandbox import confinement
from adainfd.collecting.collector import Collector
from adainfd.config.configuration import CameraSection, Configuration
from adainfd.config.exposed import REMEDY, exposed
from adainfd.config.unused import unused
from adainfd.model.export_process import Exporter, exporter_of_missing
from adainfd.model.questions import Questions
from adainfd.model.recogniser import load_recogniser, open_successor, stand_in_of
from adainfd.model.selection import read_profile
from adainfd.model.successor import Successor
from adainfd.model.warm_up import Preparation
from adainfd.runtime.announcer import Announcer
from adainfd.runtime.loop import Loop
from adainfd.runtime.observers import observers
from adainfd.runtime.policies import Policies
from adainfd.runtime.reloading import Reloader
from adainfd.tracing.lines import Header, Prepared
from adainfd.tracing.recording import Recording, Target, target_of
from adainfd.wire import messages
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.bounds import most_beside
from adainfd.wire.serving.publisher import Publisher

__all__ = ["run"]

_OPEN_WITHIN_SECONDS = 15.0
_START_SECONDS = 60.0
# Upper bounds of open files: for sockets, signals and a few subscribers; per camera for its subprocess, its pictures
# and its entries in /proc; per block for its weights, all of which ONNX Runtime opens before it maps them.
_FILES, _FILES_A_CAMERA, _FILES_A_BLOCK = 64, 6, 12
_THREADS, _THREADS_A_CAMERA = 26, 4
_MOST_PREPARERS = 8


def run(
    configure: Callable[[], Configuration],
    log: Logger,
    *,
    seconds: float | None = None,
    record: Path | None = None,
    wait_for_cameras: bool = False,
    log_results: bool = False,
    hindered: Sequence[Hindered] = (),
) -> None:
    """Run until every camera has ended, a stop signal arrives, or `seconds` have passed since startup was complete.

    configure: returns the configuration; called now and at each SIGHUP. record: the trace file to write.
    wait_for_cameras: start even if no camera can be opened yet. log_results: log every result. hindered: further
    parts whose problems the daemon reports, such as its log.
    Raises InvalidInputError or UnavailableError, with nothing left running, if it cannot start: a file is invalid, or
    no camera at all can be opened. A camera that fails later, or while another one opens, is retried indefinitely.
    """
    confinement.hide_memory()
    with (
        StopRequest() as stop,
        ReloadRequest() as reload,
        contextlib.ExitStack() as parts,
    ):
        configuration = configure()
        policies = Policies.read(configuration)
        questions = Questions.read(configuration)
        profile = read_profile(configuration.model, questions)
        most_subscribers = _check_limits(configuration, profile)
        hindrances, keeper = Hindrances(), Keeper(log)
        observer = parts.enter_context(
            observers(configuration, os.environ, log, log_results=log_results, hindrances=hindrances)
        )
        publish = configuration.publish
        curve = CurveServer.read(publish.key, publish.clients, log)
        with stop.held():  # a signal here would leak the bound sockets and the authenticator's thread
            publisher = Publisher(publish.endpoints, observer, curve=curve, log=log, most=most_subscribers)
            parts.callback(publisher.close)
        announcer = Announcer(publisher, configuration.publish.host)
        parts.callback(announcer.daemon, "stopped")
        announcer.daemon("started")
        exporter = parts.enter_context(_exporter(configuration, profile, stop))
        cameras = [parts.enter_context(_started(camera, stop)) for camera in _cameras(configuration)]
        observer.beginning("opening cameras", _START_SECONDS)
        _await_open(cameras, all_may_miss=wait_for_cameras)
        publisher.resend_last()
        stand_in = stand_in_of(configuration, profile)
        recogniser = load_recogniser(configuration, profile, log, observer, exporter, keeper, stand_in)
        successor = None
        if stand_in is not None:
            successor = parts.enter_context(_successor(configuration, profile, log))
        streams = [
            parts.enter_context(_stream(camera, section, configuration, policies, questions, recogniser, keeper))
            for camera, section in zip(cameras, configuration.camera, strict=True)
        ]
        preparation = Preparation(
            recogniser,
            configuration.model,
            exporter,
            keeper,
            log,
            time.monotonic(),
            successor=successor,
            pictures=sum(len(stream.views) for stream in streams),
        )
        parts.callback(preparation.close)
        sensors = Sensors(
            lambda: _own_processes(cameras, exporter),
            lambda name, why: log.info("unknown", signal=name, why=why),
            device=_watched_gpu(configuration, recogniser),
        )
        parts.callback(sensors.stop)
        recording = parts.enter_context(_recording(configuration, policies, streams, recogniser, log))
        recording.take_up(target_of(configuration, record))
        collector = None if configuration.collect is None else Collector(configuration.collect.rule(), log)
        pipeline = Pipeline(
            recogniser,
            publisher,
            lambda: sensors.latest,
            recording,
            host=configuration.publish.host,
            top=configuration.publish.top,
            observer=observer,
            executor=parts.enter_context(_preparers()),
            collector=collector,
        )

        def take_up(better: Recogniser) -> None:
            pipeline.take_up(better)
            announcer.runs(_model(better))
            sensors.watch(_watched_gpu(configuration, better))

        guards = (publisher.connections,) if publisher.gate is None else (publisher.connections, publisher.gate)
        for part in (
            *hindered,
            *filter(None, (collector,)),
            pipeline.parking,
            recording,
            keeper,
            sensors.thread,
            *guards,
        ):
            hindrances.watch(part)
        sensors.start()
        stop.defer()
        announcer.daemon("ready", model=_model(recogniser))
        if (notice := home.notice()) is not None:
            log.warning("no_home", detail=notice)
        log.info("ready", endpoints=publisher.endpoints, **msgspec.to_builtins(_model(recogniser)))
        if collector is not None:
            log.info("collecting", folder=str(state.folder() / "collect"))
        for text in unused(configuration):
            log.warning("unused_option", detail=text)
        for text in exposed(configuration, (camera.settings for camera in cameras)):
            log.warning("within_reach", detail=f"{text}; {REMEDY}")

        def target(configuration: Configuration) -> Target | None:
            return target_of(configuration, record)

        reloader = Reloader(
            reload, configure, configuration, streams, pipeline, recording, target, publisher, announcer, observer, log
        )
        loop = Loop(
            streams,
            pipeline,
            preparation,
            take_up,
            publisher,
            announcer,
            reloader,
            recording,
            hindrances,
            observer,
            stop,
            log,
        )
        if successor is not None:  # only now: importing PyTorch holds the GIL, which would delay the start
            successor.start()
        loop.run(seconds)


def _check_limits(configuration: Configuration, profile: Profile) -> int:
    """Check the file and thread limits; return how many subscribers may connect, by the file descriptors left over.

    Raises InvalidInputError if the limit on open files is too low, UnavailableError if the camera subprocesses cannot
    be started.
    """
    cameras, blocks = len(configuration.camera), sum(len(network.droppable) for network in profile.networks)
    needed_by = f"{cameras} camera{'s' if cameras != 1 else ''} with {profile.title}"
    files = _FILES + cameras * _FILES_A_CAMERA + blocks * _FILES_A_BLOCK
    limits.have_files(files, needed_by)
    limits.have_threads(_THREADS + cameras * _THREADS_A_CAMERA)
    return most_beside(files)


def _cameras(configuration: Configuration) -> Iterator[Camera]:
    if not configuration.camera:
        raise InvalidInputError("camera: none given; name one with --source or in the configuration")
    for section in configuration.camera:
        yield Camera(section.settings())


@contextlib.contextmanager
def _exporter(configuration: Configuration, profile: Profile, stop: StopRequest) -> Iterator[Exporter | None]:
    """Start the exporter of missing exports, which works while the cameras open; close it on exit."""
    exporter = None
    try:
        with stop.held():
            exporter = exporter_of_missing(configuration, profile)
        yield exporter
    finally:
        if exporter is not None:
            exporter.close()


@contextlib.contextmanager
def _successor(configuration: Configuration, profile: Profile, log: Logger) -> Iterator[Successor]:
    """Create the successor that opens the GPU engine once it is started; close it on exit."""
    successor = Successor(lambda: open_successor(configuration, profile, log))
    try:
        yield successor
    finally:
        successor.close()


def _preparers() -> Executor:
    """Return the thread pool that crops and resizes the pictures of a batch; threads start on demand."""
    return ThreadPoolExecutor(min(_MOST_PREPARERS, usable_processors()), "preparing")


def _watched_gpu(configuration: Configuration, recogniser: Recogniser) -> str:
    """Return the UUID of the GPU that recognises; while none does, the CUDA index of the configured one."""
    device = configuration.model.device
    return devices.uuid(device) if recogniser.engine.on_gpu else str(devices.index(device))


@contextlib.contextmanager
def _started(camera: Camera, stop: StopRequest) -> Iterator[Camera]:
    try:
        with stop.held():  # interrupting a process while it starts makes it print errors
            camera.start()
        yield camera
    finally:
        camera.close()


def _await_open(cameras: Sequence[Camera], *, all_may_miss: bool) -> None:
    """Wait at most 15 s until one camera and every file are open; live sources are retried later.

    all_may_miss: whether to go on without any open camera. Raises InvalidInputError on a file that cannot be opened,
    and UnavailableError if no camera opens, unless all may miss.
    """
    end = time.monotonic() + _OPEN_WITHIN_SECONDS
    while pending := [camera for camera in cameras if not camera.opened and camera.failure is None]:
        if any(camera.opened for camera in cameras) and all(camera.source.live for camera in pending):
            break
        connections = [receiver.fileno() for camera in pending if (receiver := camera.connection) is not None]
        # Check the time too: a process that sends endlessly keeps its connection readable.
        if (left := end - time.monotonic()) <= 0 or not wait(connections, left):
            break
        for camera in pending:
            camera.receive()
    for camera in cameras:
        if camera.failure is not None and not camera.source.live and not camera.process_failed:
            raise InvalidInputError(camera.failure)
    if not all_may_miss and not any(camera.opened for camera in cameras):
        late = f"does not open within {_OPEN_WITHIN_SECONDS:.0f} s"
        raise UnavailableError("; ".join(c.failure or f"source {c.source}: {late}" for c in cameras))


@contextlib.contextmanager
def _stream(
    camera: Camera,
    section: CameraSection,
    configuration: Configuration,
    policies: Policies,
    questions: Questions,
    recogniser: Recogniser,
    keeper: Keeper,
) -> Iterator[CameraSession]:
    """Create the camera's session; its audits are loaded on entry and saved on exit."""
    rule = (section.events or configuration.events).rule()
    own = LabelColumns.of(section.labels, recogniser.engine.class_names, camera.name)
    key = (camera.name, str(camera.source), *(network.identity for network in recogniser.profile.networks))
    named: list[tuple[str | None, Region | None]] = [*section.regions.items()] or [(None, None)]
    audit_files = [state.file("audit", *key, *([] if name is None else [name])) for name, _ in named]
    taught = [questions.of(camera.name, name) for name, _ in named]
    views = tuple(
        RegionSession(
            labels=own if asked is None else LabelColumns.of_taught(asked),
            taught=asked,
            decider=Decider(policies.of(camera.name, len(named))),
            region=name,
            box=box,
            part=part,
            counted=counted_cells(section.ignore, box),
            audit=Audit.load(audit_files[part]),
            presence=Presence(rule),
            states=None if asked is None else StateTracker(rule),
        )
        for part, ((name, box), asked) in enumerate(zip(named, taught, strict=True))
    )
    try:
        yield CameraSession(camera, views, section.priority)
    finally:
        for view in views:
            if view.audit.frames:
                keeper.keep("audit", audit_files[view.part], view.audit.text, camera=camera.name)


@contextlib.contextmanager
def _recording(
    configuration: Configuration,
    policies: Policies,
    streams: Sequence[CameraSession],
    recogniser: Recogniser,
    log: Logger,
) -> Iterator[Recording]:
    header = Header(
        host=configuration.publish.host,
        recorded_at=time.time(),
        profile=recogniser.profile.model_dump(mode="json", by_alias=True, exclude={"set_aside"}),
        **msgspec.structs.asdict(Prepared.of(recogniser)),
        **msgspec.structs.asdict(policies.in_force(streams)),
    )
    recording = Recording(header, log)
    try:
        yield recording
    finally:
        recording.close()


def _own_processes(cameras: Sequence[Camera], exporter: Exporter | None) -> list[int]:
    children = [camera.process_id for camera in cameras] + ([] if exporter is None else [exporter.process_id])
    return [os.getpid(), *(process for process in children if process is not None)]


def _model(recogniser: Recogniser) -> messages.Model:
    space = recogniser.profile.space
    return messages.Model(
        backbone=recogniser.profile.reference.backbone,
        engine=recogniser.engine.name,
        device=recogniser.engine.device,
        full_branch=str(space.full),
        full_macs=space.full_macs,
        full_ms=recogniser.times.get(1, {}).get(str(space.full)),
        networks=tuple(recogniser.profile.of_key[key].name for key in recogniser.engine.outlines),
    )
