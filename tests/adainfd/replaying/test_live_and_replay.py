"""Replay decides as the pipeline did: whatever the policy, whatever the cameras show, and wherever a trace begins."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from adainfd.answering.session import CameraSession
from adainfd.replaying.decisions import recorded, replayed
from adainfd.replaying.report import differences, other_answers
from adainfd.tracing import trace as traces
from adainfd.tracing.lines import Header, PolicyChange, Prepared
from adainfd.tracing.recording import Recording, Target
from adainfd.wire.serving.publisher import Publisher
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from live import Live, Step, known, policies, steps
from profiles import SMALL, profiles

from adainf.control import Policy
from adainf.profile import Profile
from adainf.recogniser import Recogniser


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    publishes = Publisher([f"ipc://{tmp_path_factory.mktemp('live')}/s"])
    yield publishes
    publishes.close()


def in_force(streams: list[CameraSession]) -> PolicyChange:
    return PolicyChange(
        policy=Policy().model_dump(mode="json"),
        policies={s.key(view): view.policy.model_dump(mode="json") for s in streams for view in s.views},
        taught={
            s.key(view): view.taught.profile.model_dump(mode="json", by_alias=True)
            for s in streams
            for view in s.views
            if view.taught is not None
        },
    )


def recording(recogniser: Recogniser, streams: list[CameraSession]) -> Recording:
    told: dict[str, Any] = {name: getattr(in_force(streams), name) for name in ("policy", "policies", "taught")}
    profile = recogniser.profile.model_dump(mode="json", by_alias=True, exclude={"set_aside"})
    prepared = msgspec.structs.asdict(Prepared.of(recogniser))
    header = Header(host="here", recorded_at=0.0, profile=profile, **prepared, **told)
    return Recording(header, structlog.wrap_logger(structlog.ReturnLogger()))


class Disk:
    """A disk on which there is room, or none."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full = False
        append = traces.TraceFile.append

        def only_where_there_is_room(file: Any, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            append(file, data)

        patch.setattr(traces.TraceFile, "append", only_where_there_is_room)
        patch.setattr(traces, "_RETRY_SECONDS", 0.0)


# Frames, and what may happen between them: a reload, branches that have become ready, a disk that becomes full or has
# room again, and a recording that ends or begins.
happenings = st.sampled_from(["step"] * 12 + ["policy", "ready", "full", "room", "end", "begin"]).flatmap(
    lambda kind: {"step": steps, "policy": policies(), "ready": st.integers(1, 8)}.get(kind, st.just(kind))
)


@given(
    known(),
    st.lists(st.tuples(policies(), st.sampled_from([1, 1, 2])), min_size=1, max_size=3),
    st.lists(happenings, min_size=20, max_size=80),
    st.booleans(),
    st.booleans(),
    st.none() | profiles(SMALL),
)
@generous(40)
def test_replay_makes_every_recorded_decision_again(
    publisher: Publisher,
    profile: Profile,
    told: list[tuple[Policy, int]],
    happens: list[Step | Policy | int | str],
    batches: bool,
    scheduled: bool,
    own: Profile | None,
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        disk, target = Disk(patch), Target(Path(folder) / "t.trace")
        live = Live(
            profile,
            told,
            recording,
            publisher,
            patch,
            batches=batches,
            scheduled=scheduled,
            ready=len(happens) % 5 + 1,
            own=own,
        )
        recorder: Any = live.recorder
        recorder.take_up(target)
        for what in happens:
            match what:
                case Step():
                    live.step(what)
                case Policy():
                    view = live.streams[0].views[0]
                    view.decider.policy = what
                    recorder.policy(in_force(live.streams))
                case int():
                    live.prepare(what)
                case "full" | "room":
                    disk.full = what == "full"
                case "end" if not disk.full:  # what is lost by then is said
                    recorder.take_up(None)
                case "begin":
                    recorder.take_up(target)
        disk.full = False
        recorder.close()
        before, after = recorded(target.path), replayed(target.path, None)
        assert differences(before, after) == []
        assert other_answers(before, after) == []
        assert before.broken == ()
        assert before.lost == recorder.lost.get("trace_lines", 0)
        for stream in live.streams:
            account = stream.camera.account
            assert account.waiting == 0


@given(known(), policies(), st.lists(steps, min_size=20, max_size=80), st.booleans())
@generous(40)
def test_no_frame_takes_more_than_the_maximum_its_second_look_included(
    publisher: Publisher, profile: Profile, policy: Policy, happens: list[Step], scheduled: bool
) -> None:
    """The cheapest branch runs whatever the policy says."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder) / "t.trace")
        live = Live(profile, [(policy, 1)], recording, publisher, patch, batches=False, scheduled=scheduled, ready=8)
        recorder: Any = live.recorder
        recorder.take_up(target)
        for step in happens:
            live.step(step)
        recorder.close()
        most = max(policy.budget.maximum, live.recogniser.table.floor)
        for decision in recorded(target.path).decisions:
            assert decision.macs_fraction <= most + 1e-9
            if decision.second_look is not None:
                assert decision.second_look[0].fraction <= policy.budget.maximum + 1e-9
