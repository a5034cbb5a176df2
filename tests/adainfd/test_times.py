"""How long branches take here: what is known at a start, and what is measured in the gaps between frames."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from adainfd.base.keeping import Keeper
from adainfd.config.configuration import ModelSection
from adainfd.model.timings import Measuring, kept_times, known_times, missing_times
from adainfd.model.warm_up import Preparation
from numpy.typing import NDArray
from profiles import SMALL, profile

from adainf.branch import REFERENCE, Branch
from adainf.engines import SIZES, OutOfMemoryError
from adainf.profile import BranchTime, Profile, Timings
from adainf.recogniser import Recogniser

FULL, CHEAP = SMALL.full, Branch(4, (True, False, True))
BRANCHES = [FULL, CHEAP]


class Slow:
    """An engine that takes three asks to record what it is asked for, and must not run what is not recorded."""

    name, device, on_gpu, threads = "slow", "a box", True, 1
    class_names = ("cat",)

    def __init__(self, sizes: tuple[int, ...] = SIZES) -> None:
        self.sizes = sizes
        self.outlines: Any = {REFERENCE: SimpleNamespace(preprocessing=SimpleNamespace(crop_fraction=1.0))}
        self.asked: dict[tuple[Branch, int], int] = {}
        self.ran: list[tuple[Branch, int]] = []
        self.memory = True

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        self.asked[branch, pictures] = self.asked.get((branch, pictures), 0) + 1
        return self.asked[branch, pictures] >= 3

    def prepare(self, picture: NDArray[Any], resolution: int, network: str) -> int:
        return resolution

    def run(self, inputs: Sequence[int], branches: Sequence[Branch]) -> None:
        if not self.memory:
            self.asked.clear()
            raise OutOfMemoryError("device: out of memory")
        (branch,) = set(branches)
        assert self.asked[branch, len(inputs)] >= 3
        self.ran.append((branch, len(inputs)))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def made() -> Profile:
    return profile(SMALL, [(CHEAP, 0.5)])


def log() -> Any:
    return structlog.wrap_logger(structlog.ReturnLogger())


def to_its_end(measuring: Measuring) -> int:
    """How many steps it takes."""
    steps = 0
    while not measuring.done:
        measuring.step()
        steps += 1
    return steps


def timings(made: Profile, sizes: Sequence[int], branches: Sequence[Branch] = BRANCHES) -> Profile:
    """The profile with times of as many milliseconds as pictures."""
    times = {n: {str(branch): BranchTime(p50_ms=n, p95_ms=n) for branch in branches} for n in sizes}
    now = datetime(2026, 1, 1).isoformat()
    return made.with_timings(
        Timings(device="a box", engine="slow", threads=1, measured=now, times=times.pop(1), together=times)
    )


@pytest.mark.parametrize(
    ("sizes", "pictures", "known", "missing"),
    [
        ((1,), 16, [], [1]),
        (SIZES, 1, [], [1]),
        (SIZES, 2, [], [1, 2]),
        (SIZES, 5, [], [1, 2, 4, 8]),
        (SIZES, 8, [1, 4], [2, 8]),
        (SIZES, 100, [1, 2, 4, 8, 16], [32]),
    ],
)
def test_numbers_of_pictures_are_measured_as_far_as_cameras_go(
    sizes: tuple[int, ...], pictures: int, known: list[int], missing: list[int]
) -> None:
    engine: Any = Slow(sizes)
    assert missing_times(engine, {size: {"8:111": 1.0} for size in known}, pictures, [Branch.parse("8:111")]) == missing


def test_only_what_is_ready_is_timed_and_every_branch_alike(made: Profile) -> None:
    engine: Any = Slow()
    steps = to_its_end(Measuring(engine, made, BRANCHES, 4))
    assert sorted(engine.ran) == sorted([(FULL, 4), (CHEAP, 4)] * 8)
    assert steps == len(engine.ran) + 2 * 3


def test_after_memory_was_short_branches_are_made_ready_anew(made: Profile) -> None:
    engine: Any = Slow()
    measuring = Measuring(engine, made, BRANCHES)
    for _ in range(4):
        measuring.step()
    engine.memory = False
    with pytest.raises(OutOfMemoryError):
        to_its_end(measuring)
    engine.memory = True
    to_its_end(measuring)
    assert len(engine.ran) == 16


def test_daemon_measures_number_after_number_and_the_next_start_knows_them(made: Profile) -> None:
    engine: Any = Slow()
    recogniser = Recogniser.of(engine, made, BRANCHES, {})
    preparation = Preparation(recogniser, ModelSection(), None, Keeper(log()), log(), 0.0, pictures=3)
    now, known = 0.0, list[list[int]]()
    for _ in range(1000):
        now += 1.0
        better = preparation.go_on(now - 0.5, now)
        if better is not None and better.times and sorted(better.times) not in known:
            known.append(sorted(better.times))
    assert known == [[1], [1, 2], [1, 2, 4]]
    assert preparation.due(now) is None
    again = known_times(engine, made, BRANCHES, log())
    assert sorted(again) == [1, 2, 4]
    assert all(times.keys() == {str(FULL), str(CHEAP)} for times in again.values())


def test_times_of_the_profile_come_before_those_kept(made: Profile) -> None:
    engine: Any = Slow()
    measuring = Measuring(engine, made, BRANCHES, 2)
    to_its_end(measuring)
    measuring.keep(Keeper(log()))
    assert known_times(engine, made, BRANCHES, log()).keys() == {2}
    known = known_times(engine, timings(made, [1, 4]), BRANCHES, log())
    assert known[1] == {str(FULL): 1.0, str(CHEAP): 1.0}
    assert known[4] == {str(FULL): 4.0, str(CHEAP): 4.0}
    assert sorted(known) == [1, 2, 4]
    kept = known[2][str(FULL)]
    assert known_times(engine, timings(made, [1, 2]), BRANCHES, log())[2][str(FULL)] == 2.0 != kept


def test_a_number_that_was_not_timed_along_all_branches_is_left_out(made: Profile) -> None:
    engine: Any = Slow()
    half = (
        timings(made, [1]).timings[0].model_copy(update={"together": {8: {str(FULL): BranchTime(p50_ms=8, p95_ms=8)}}})
    )
    assert known_times(engine, made.with_timings(half), BRANCHES, log()).keys() == {1}
    assert kept_times(engine, made, BRANCHES) == {}
