import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from adainfd.answering.back_off import Parking
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from adainfd.config.configuration import Configuration
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile
from adainfd.tracing.trace import NoTrace
from adainfd.wire.serving.publisher import Publisher
from daemons import Network, await_true

from adainf.branch import Branch
from adainf.control import Decider, Policy
from adainf.engines import Engine, OutOfMemoryError
from adainf.recogniser import LabelColumns
from adainf.sensors import Readings


def test_waits_ever_longer_up_to_a_bound_and_is_forgotten_once_back() -> None:
    parking, now, waits = Parking(), 100.0, []
    for _ in range(8):
        parking.park(now)
        assert parking.waits(now)
        waits.append(parking.retry_at - now)
        now = parking.retry_at
        assert not parking.waits(now)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    parking.unpark()
    assert not parking.waits(now)
    parking.park(now)
    assert parking.retry_at - now == 1


class Crowded:
    """An engine on a device whose memory another program holds for the first few runs."""

    def __init__(self, engine: Engine, failures: int) -> None:
        self._engine = engine
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> Any:
        if self._failures:
            self._failures -= 1
            raise OutOfMemoryError("device: out of memory")
        return self._engine.run(inputs, branches)


def test_frames_are_counted_while_the_model_is_parked_and_answered_when_it_is_back(
    tmp_path: Path, network: Network, clip: Path, ipc: str
) -> None:
    configuration = Configuration.read(network.configuration(tmp_path / "c.toml", bind=ipc))
    profile = read_profile(configuration.model)
    loaded = load_recogniser(configuration, profile, structlog.get_logger())
    crowded: Any = Crowded(loaded.engine, failures=2)
    recogniser = replace(loaded, engine=crowded)
    publisher = Publisher([ipc])
    camera = Camera(CameraSettings("one", Source(str(clip)), loop=True))
    camera.start()
    try:
        pipeline = Pipeline(recogniser, publisher, Readings, NoTrace(), host="here", top=1)
        stream = CameraSession(
            camera, (RegionSession(LabelColumns.of((), loaded.engine.class_names, "one"), Decider(Policy())),)
        )
        camera.play()

        def answered() -> bool:
            camera.receive()
            pipeline.answer([stream], lambda: False)
            return camera.account.published > 0

        await_true(lambda: (answered(), pipeline.parking.parked)[1], 10, "the model is parked")
        started = time.monotonic()
        await_true(answered, 20, "an answer")
        assert time.monotonic() - started >= 2.9
        assert not pipeline.parking.parked
        assert camera.account.model_parked > 10
        assert camera.account.published == 1
        assert camera.account.waiting <= 1
    finally:
        camera.close()
        publisher.close()


class NoRoomForAudits(Crowded):
    """An engine on a device with memory for every branch but the full one."""

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> Any:
        if all(branches[0].keep) and branches[0].resolution == 32:
            raise OutOfMemoryError("device: out of memory")
        return self._engine.run(inputs, branches)


def test_a_frame_whose_audit_finds_no_memory_is_counted_once(
    tmp_path: Path, network: Network, clip: Path, ipc: str
) -> None:
    configuration = Configuration.read(network.configuration(tmp_path / "c.toml", bind=ipc))
    loaded = load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())
    without: Any = NoRoomForAudits(loaded.engine, failures=0)
    recogniser = replace(loaded, engine=without)
    policy = Policy.model_validate({"budget": {"maximum": 0.5}, "audit": {"share": 1}})
    publisher, camera = Publisher([ipc]), Camera(CameraSettings("one", Source(str(clip))))
    camera.start()
    try:
        pipeline = Pipeline(recogniser, publisher, Readings, NoTrace(), host="here", top=1)
        stream = CameraSession(
            camera, (RegionSession(LabelColumns.of((), loaded.engine.class_names, "one"), Decider(policy)),)
        )
        camera.play()

        def answered() -> bool:
            camera.receive()
            pipeline.answer([stream], lambda: False)
            return camera.account.published > 0

        await_true(answered, 20, "an answer")
        assert pipeline.parking.parked
        assert (camera.account.published, camera.account.model_parked) == (1, 0)
        assert camera.account.waiting >= 0
    finally:
        camera.close()
        publisher.close()
