"""Frames of several cameras that are due together share one processor."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from adainfd.answering.fair_queue import in_turn
from adainfd.answering.pipeline import Pipeline
from adainfd.answering.session import CameraSession, RegionSession
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from adainfd.config.configuration import Configuration
from adainfd.model.recogniser import load_recogniser
from adainfd.model.selection import read_profile
from adainfd.replaying.decisions import recorded, replayed
from adainfd.replaying.report import differences
from adainfd.tracing.lines import Prepared
from adainfd.tracing.trace import Header, NoTrace, Recorder, TraceWriter
from adainfd.wire.serving.publisher import Publisher
from daemons import START_SECONDS, Network, await_true, write_video

from adainf.branch import Branch
from adainf.control import Decider, Policy
from adainf.engines import Engine
from adainf.recogniser import LabelColumns, Recogniser
from adainf.sensors import Readings


class Counting:
    """An engine that tells how many pictures it was given at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sizes = engine.sizes
        self.at_once: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> Any:
        self.at_once.append(len(inputs))
        return self._engine.run(inputs, branches)


@dataclass
class Three:
    """Three cameras that each wait with a frame, and what answers them."""

    pipeline: Pipeline
    streams: list[CameraSession]
    engine: Counting
    recogniser: Recogniser

    def answer(self) -> None:
        self.pipeline.answer(in_turn(self.streams), lambda: True)

    @property
    def fractions(self) -> list[float | None]:
        """Of the full branch's MACs, what ran for each."""
        return [view.answer and view.answer.choice.macs_fraction for stream in self.streams for view in stream.views]


@contextmanager
def three(
    network: Network,
    ipc: str,
    folder: Path,
    policies: Sequence[dict[str, Any]],
    *,
    engine: str = "onnx",
    full_seconds: float | None = None,
    together: float | None = None,
    trace: Path | None = None,
) -> Iterator[Three]:
    """full_seconds: what the full branch is said to take, and others by their MACs; None, what was measured.

    together: how many times as long two pictures and four are said to take; None where that is not known.
    """
    video = write_video(folder / "still.avi", 3, fps=25, moves=lambda _: False)
    configuration = Configuration.read(network.configuration(folder / "c.toml", bind=ipc))
    model = configuration.model.model_copy(update={"engine": engine})
    told = configuration.model_copy(update={"model": model})
    loaded = load_recogniser(told, read_profile(told.model), structlog.get_logger())
    counting: Any = Counting(loaded.engine)
    times = {str(choice.branch): choice.macs_fraction for choice in loaded.table.frontier}
    if full_seconds is not None:
        single = {branch: 1000 * full_seconds * part for branch, part in times.items()}
        sizes = () if together is None else (2, 4)
        several = {size: {branch: together * ms for branch, ms in single.items()} for size in sizes if together}
        loaded = replace(loaded, times={1: single, **several})
    recogniser = replace(loaded, engine=counting)
    with ExitStack() as parts:
        publisher = Publisher([ipc])
        parts.callback(publisher.close)
        streams = []
        for number, told_policy in enumerate(policies):
            # Frames that come once a minute, and may wait for ten.
            camera = Camera(CameraSettings(f"c{number}", Source(str(video)), fps=0.02, max_age=600))
            parts.callback(camera.close)
            camera.start()
            camera.play()
            policy = Policy.model_validate(told_policy)
            streams.append(
                CameraSession(
                    camera, (RegionSession(LabelColumns.of((), loaded.engine.class_names, "c"), Decider(policy)),)
                )
            )

        def all_wait() -> bool:
            for stream in streams:
                stream.camera.receive()
            return all(stream.camera.newest is not None for stream in streams)

        await_true(all_wait, START_SECONDS, "a frame of each camera")
        recorder: Recorder = NoTrace()
        if trace is not None:
            header = Header(
                host="here",
                recorded_at=0.0,
                policy=streams[0].views[0].policy.model_dump(mode="json"),
                profile=loaded.profile.model_dump(mode="json", by_alias=True, exclude={"set_aside"}),
                **msgspec.structs.asdict(Prepared.of(recogniser)),
            )
            recorder = parts.enter_context(TraceWriter(trace, header))
        pipeline = Pipeline(recogniser, publisher, Readings, recorder, host="here", top=1)
        yield Three(pipeline, streams, counting, recogniser)


IN_A_MINUTE = {"budget": {"minimum": 0.01}, "deadline": {"milliseconds": 60_000}}


def test_each_leaves_the_others_their_part_and_replay_knows_it(network: Network, ipc: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.trace"
    with three(network, ipc, tmp_path, [IN_A_MINUTE] * 3, full_seconds=30, trace=trace) as cameras:
        cameras.answer()
        # Half a minute each were too much: what they share is less than one.
        (first,) = [fraction for fraction in cameras.fractions if fraction is not None]
        assert 0 < first < 0.7
        cameras.answer()
        cameras.answer()
        assert None not in cameras.fractions
    before, after = recorded(trace), replayed(trace, None)
    assert [decision.budget.limited_by for decision in before.decisions][:1] == ["cameras"]
    assert differences(before, after) == []


def test_what_fits_is_granted_and_one_frame_alone_shares_with_nobody(
    network: Network, ipc: str, tmp_path: Path
) -> None:
    with three(network, ipc, tmp_path, [IN_A_MINUTE] * 3, full_seconds=5) as cameras:
        for _ in range(3):
            cameras.answer()
        assert cameras.fractions == [1.0] * 3
    with three(network, ipc, tmp_path, [IN_A_MINUTE], full_seconds=59) as cameras:
        cameras.answer()
        assert cameras.fractions == [1.0]


def test_an_engine_that_batches_answers_all_at_once_along_branches_of_their_own(
    network: Network, ipc: str, tmp_path: Path
) -> None:
    policies = [{"budget": {"maximum": maximum, "minimum": 0.01}} for maximum in (1.0, 0.6, 0.2)]
    with three(network, ipc, tmp_path, policies, engine="torch") as cameras:
        cameras.answer()
        assert cameras.engine.at_once == [3]
        answers = [stream.views[0].answer for stream in cameras.streams]
        assert [stream.camera.account.published for stream in cameras.streams] == [1, 1, 1]
        assert len({str(answer.choice.branch) for answer in answers if answer is not None}) == 3
        together = [answer.labels for answer in answers if answer is not None]
    with three(network, ipc, tmp_path, policies) as cameras:
        for _ in range(3):
            cameras.answer()
        assert cameras.engine.at_once == [1, 1, 1]
        alone = [stream.views[0].answer for stream in cameras.streams]
    for labels, answer in zip(together, alone, strict=True):
        assert answer is not None
        assert [label.label for label in answer.labels] == [label.label for label in labels]
        assert answer.labels[0].score == pytest.approx(labels[0].score, abs=2e-4)


def test_no_more_are_answered_at_once_than_the_engine_runs_together(network: Network, ipc: str, tmp_path: Path) -> None:
    with three(network, ipc, tmp_path, [IN_A_MINUTE] * 3, engine="torch") as cameras:
        cameras.engine.sizes = (1, 2)
        cameras.answer()
        assert sum(stream.camera.newest is not None for stream in cameras.streams) == 1
        cameras.answer()
        assert [stream.camera.account.published for stream in cameras.streams] == [1, 1, 1]
        assert cameras.engine.at_once == [2, 1]


@pytest.mark.parametrize(("together", "fraction"), [(1.1, 1.0), (None, 0.6)])
def test_what_takes_no_longer_together_goes_along_one_branch_and_all_wait_for_it(
    network: Network, ipc: str, tmp_path: Path, together: float | None, fraction: float
) -> None:
    """Three of 30 s in a minute: one after the other they have 18 s each, as one batch of 33 s all they want."""
    trace = tmp_path / "t.trace"
    policies = [IN_A_MINUTE] * 3
    with three(
        network, ipc, tmp_path, policies, engine="torch", full_seconds=30, together=together, trace=trace
    ) as cameras:
        cameras.answer()
        assert cameras.engine.at_once == [3]
        assert all(ran is not None and fraction - 0.4 <= ran <= fraction for ran in cameras.fractions)
        assert (set(cameras.fractions) == {1.0}) == (together is not None)
    frames = [msgspec.json.decode(line) for line in trace.read_bytes().splitlines()[1:]]
    assert len(frames) == 3
    (forward,), (expected,) = ({frame[key] for frame in frames} for key in ("forward_ms", "expected_ms"))
    ran = sum(fraction for fraction in cameras.fractions if fraction is not None)
    assert expected == pytest.approx(33_000 if together is not None else 30_000 * ran)
    assert all(frame["others_ms"] > 0 for frame in frames)
    assert forward > 0
    before, after = recorded(trace), replayed(trace, None)
    assert differences(before, after) == []
