"""Frames of several cameras that are due together share one processor."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from adainfd.capture.camera import Camera
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from adainfd.config import Configuration
from adainfd.control import Policy
from adainfd.control.trace import NoTrace
from adainfd.model import read_profile
from adainfd.pipeline import Pipeline
from adainfd.recogniser import LabelColumns, load_recogniser
from adainfd.sensors import Readings
from adainfd.stream import Stream, View
from adainfd.turns import in_turn
from adainfd.wire.publisher import Publisher
from daemons import START_SECONDS, Network, await_true, listening, write_video

from adainf.branch import Branch
from adainf.engines import Engine
from adainf.profile import Profile

Run = Callable[..., Any]


@pytest.fixture
def slow_network(network: Network, tmp_path: Path) -> Network:
    """The same, said to take 30 ms for its full branch; what it takes in truth is found out frame by frame."""
    profile = Profile.read(network.profile)
    (timings,) = profile.timings
    times = {
        branch: time.model_copy(update={"p50_ms": 30 * (time.p50_ms - 1)}) for branch, time in timings.times.items()
    }
    slow = profile.model_copy(update={"timings": (timings.model_copy(update={"times": times}),)})
    slow.write(tmp_path / "slow.json")
    return Network(network.weights, tmp_path / "slow.json", network.labels)


def test_cameras_leave_each_other_their_part_and_replay_knows_it(
    launch: Any, run: Run, slow_network: Network, ipc: str, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text("[budget]\nminimum = 0.2\n[second_look]\nsavings = 1\n")
    moving = str(write_video(tmp_path / "moving.avi", 40, fps=10, moves=lambda _: True))
    cameras: list[dict[str, object]] = [{"name": f"c{number}", "source": moving} for number in range(5)]
    cameras[0]["priority"] = 4
    file = slow_network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    budgets: list[tuple[str, float]] = []
    with listening(ipc) as receive:
        trace = tmp_path / "t.trace"
        program = launch("run", "--config", file, "--policy", tmp_path / "p.toml", "--record", trace)
        while True:
            topic, message = receive(START_SECONDS)
            if topic.startswith("result/"):
                budget = message["budget"]
                budgets.append((budget["limited_by"], budget["fraction"]))
                assert message["plan"]["macs_fraction"] <= budget["fraction"]
            elif topic == "status/here" and message["state"] == "stopped":
                break
    assert program.ended(START_SECONDS) == 0
    # All five frames come at once, and each by itself would take a third of the time until the next ones.
    cut = [fraction for rule, fraction in budgets if rule == "cameras"]
    assert cut
    assert all(0.2 <= fraction < 1 for fraction in cut)
    checked = run("replay", trace, "--check")
    assert checked.returncode == 0, checked.stdout
    assert '"granted":0.' in trace.read_text()


def test_one_camera_shares_with_nobody(launch: Any, slow_network: Network, ipc: str, tmp_path: Path) -> None:
    moving = str(write_video(tmp_path / "moving.avi", 10, fps=50, moves=lambda _: True))
    cameras: list[dict[str, object]] = [{"name": "one", "source": moving}]
    file = slow_network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    program = launch("run", "--config", file, "--record", tmp_path / "t.trace")
    assert program.ended(START_SECONDS) == 0
    assert '"granted":null' in (tmp_path / "t.trace").read_text()
    assert '"granted":0' not in (tmp_path / "t.trace").read_text()


class Counting:
    """An engine that tells how many pictures it was given at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.at_once: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> Any:
        self.at_once.append(len(inputs))
        return self._engine.run(inputs, branches)


@contextmanager
def three_cameras(
    network: Network, engine: str, ipc: str, tmp_path: Path
) -> Iterator[tuple[Pipeline, list[Stream], Counting]]:
    """Cameras that show the same still picture, each by a policy of its own, and wait for their first frame."""
    video = write_video(tmp_path / "still.avi", 3, fps=25, moves=lambda _: False)
    configuration = Configuration.read(network.configuration(tmp_path / "c.toml", bind=ipc))
    model = configuration.model.model_copy(update={"engine": engine})
    told = configuration.model_copy(update={"model": model})
    loaded = load_recogniser(told, read_profile(told.model), structlog.get_logger())
    counting: Any = Counting(loaded.engine)
    recogniser = replace(loaded, engine=counting)
    with ExitStack() as parts:
        publisher = Publisher([ipc])
        parts.callback(publisher.close)
        streams = []
        for number, maximum in enumerate((1.0, 0.6, 0.2)):
            camera = Camera(CameraSettings(f"c{number}", Source(str(video)), fps=0.02, max_age=600))
            parts.callback(camera.close)
            camera.start()
            camera.play()
            policy = Policy.model_validate({"budget": {"maximum": maximum, "minimum": 0.01}})
            streams.append(Stream(camera, (View(LabelColumns.of((), loaded.engine.class_names, "c"), policy),)))

        def all_wait() -> bool:
            for stream in streams:
                stream.camera.receive()
            return all(stream.camera.newest is not None for stream in streams)

        await_true(all_wait, START_SECONDS, "a frame of each camera")
        yield Pipeline(recogniser, publisher, Readings, NoTrace(), host="here", top=1), streams, counting


def test_an_engine_that_batches_answers_all_at_once_along_branches_of_their_own(
    network: Network, ipc: str, tmp_path: Path
) -> None:
    with three_cameras(network, "torch", ipc, tmp_path) as (pipeline, streams, engine):
        pipeline.answer(in_turn(streams), lambda: True)
        assert engine.at_once == [3]
        answers = [stream.views[0].answer for stream in streams]
        assert [stream.camera.account.published for stream in streams] == [1, 1, 1]
        assert len({str(answer.choice.branch) for answer in answers if answer is not None}) == 3
        together = [answer.labels for answer in answers if answer is not None]
    with three_cameras(network, "onnx", ipc, tmp_path) as (pipeline, streams, engine):
        for _ in range(3):
            pipeline.answer(in_turn(streams), lambda: True)
        assert engine.at_once == [1, 1, 1]
        alone = [stream.views[0].answer for stream in streams]
    for labels, answer in zip(together, alone, strict=True):
        assert answer is not None
        assert [label.label for label in answer.labels] == [label.label for label in labels]
        assert answer.labels[0].score == pytest.approx(labels[0].score, abs=2e-4)
