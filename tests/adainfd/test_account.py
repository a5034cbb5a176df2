"""Every frame of every camera has exactly one fate, at any time and in whatever is said of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
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
from daemons import START_SECONDS, Network, await_true, listening, write_video

from adainf.branch import Branch
from adainf.control import Decider, Policy
from adainf.engines import Engine
from adainf.recogniser import LabelColumns
from adainf.sensors import Readings

MAX_AGE = 0.5


def fates(account: dict[str, Any]) -> int:
    return int(account["published"] + account["reused"] + account["waiting"] + sum(account["dropped"].values()))


def test_eight_cameras_add_up_in_every_message(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    moving = str(write_video(tmp_path / "moving.avi", 50, fps=25, moves=lambda _: True))
    still = str(write_video(tmp_path / "still.avi", 50, fps=25, moves=lambda _: False))
    cameras: list[dict[str, object]] = [
        {"name": f"c{number}", "source": moving if number % 2 else still, "loop": True, "max_age": MAX_AGE}
        for number in range(6)
    ]
    cameras += [
        {"name": "capped", "source": moving, "loop": True, "max_fps": 5, "max_age": MAX_AGE},
        {"name": "once", "source": moving, "max_age": MAX_AGE, "priority": 3},
    ]
    names = {str(camera["name"]) for camera in cameras}
    last: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, int]] = {name: {"reuse": 0, "lookup": 0, "second_look": 0} for name in names}
    with listening(ipc) as receive:
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        program = launch("run", "--config", file, "--seconds", "5")
        while True:
            topic, message = receive(START_SECONDS)
            if topic.startswith("result/"):
                camera = message["camera"]
                answers[camera][message["plan"]["chosen_by"]] += 1
                # What was captured until this frame and is no answer is among the dropped.
                answered = answers[camera]["reuse"] + answers[camera]["lookup"]
                assert message["frame"] == answered + sum(message["dropped"].values())
                if message["plan"]["chosen_by"] != "second_look":
                    assert message["timing_ms"]["total"] <= 1000 * MAX_AGE
            elif topic == "status/here":
                for name, account in (message["cameras"] or {}).items():
                    assert account["captured"] == fates(account), name
                if message["state"] == "stopped":
                    break
            elif not message["repeated"]:
                assert message["account"]["captured"] == fates(message["account"])
                last[message["camera"]] = message["account"]
    assert program.ended(START_SECONDS) == 0
    assert last.keys() == names
    for line in program.named("frames"):
        name = line["camera"]
        dropped = sum(count for key, count in line.items() if key.startswith("dropped_"))
        assert line["captured"] == line["published"] + line["reused"] + dropped == last[name]["captured"]
        assert (line["reused"], line["published"]) == (answers[name]["reuse"], answers[name]["lookup"])
        assert line["second_looks"] == answers[name]["second_look"]
    assert last["once"]["captured"] == 50
    assert last["capped"]["dropped"]["over_rate"] > last["capped"]["published"]


class Slow:
    """An engine that is not through with a frame before the frame is too old."""

    def __init__(self, engine: Engine, camera: Camera) -> None:
        self._engine = engine
        self._camera = camera
        self.runs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> Any:
        self.runs += 1
        before = self._camera.account.captured
        # Frames go on coming meanwhile: two of them at 25 a second take longer than the age limit.
        await_true(lambda: (self._camera.receive(), self._camera.account.captured > before + 2)[1], 20, "more frames")
        return self._engine.run(inputs, branches)


def test_answer_that_comes_too_late_is_not_given_and_counted(
    network: Network, ipc: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    video = write_video(tmp_path / "v.avi", 50, moves=lambda _: True)
    configuration = Configuration.read(network.configuration(tmp_path / "c.toml", bind=ipc))
    loaded = load_recogniser(configuration, read_profile(configuration.model), structlog.get_logger())
    camera = Camera(CameraSettings("door", Source(str(video)), loop=True, max_age=0.05))
    slow: Any = Slow(loaded.engine, camera)
    publisher = Publisher([ipc])
    camera.start()
    try:
        recogniser = replace(loaded, engine=slow)
        pipeline = Pipeline(recogniser, publisher, Readings, NoTrace(), host="here", top=1)
        stream = CameraSession(
            camera, (RegionSession(LabelColumns.of((), loaded.engine.class_names, "door"), Decider(Policy())),)
        )
        camera.play()

        def looked() -> bool:
            camera.receive()
            pipeline.answer([stream], lambda: False)
            return slow.runs >= 3

        await_true(looked, 30, "three looks")
        assert camera.account.too_old >= 3
        assert camera.account.published == 0
        assert camera.account.waiting in (0, 1)
    finally:
        camera.close()
        publisher.close()
