import itertools
import json
import time

import numpy as np
import pytest

from adainf.backbones import Options, load
from adainf.branch import REFERENCE, Branch
from adainf.engines.torch import TorchEngine
from adainf.evaluation.timing import Along, Stopwatch, add_timings, measure
from adainf.profile import Profile


@pytest.fixture(scope="module")
def engine():
    return TorchEngine({REFERENCE: load("cifar/resnet20", Options("random"))}, "cpu", threads=1)


FULL = Branch(32, (True,) * 9)
SHORT = Branch(16, (True,) + (False,) * 8)


class Planning:
    """An engine on a clock of its own: whatever it meets for the first time it plans, for seconds."""

    name, device, threads = "planning", "a box", 1
    sizes = (1, 2, 4)

    def __init__(self):
        self.now = 0.0
        self.planned = set()
        self.watch = Stopwatch(lambda: self.now)

    def rest(self, seconds):
        self.now += seconds

    def warm_up(self, branches, pictures=1):
        for branch in branches:
            if (branch, pictures) not in self.planned:
                self.now += 3.0
            self.planned.add((branch, pictures))

    def prepare(self, picture, resolution, network):
        return network, resolution

    def run(self, inputs, branches):
        assert inputs == [(branch.network, branch.resolution) for branch in branches]
        self.warm_up(set(branches), len(branches))
        self.now += 0.01 + 0.001 * len(branches)


@pytest.fixture
def planning(monkeypatch):
    engine = Planning()
    monkeypatch.setattr(time, "sleep", engine.rest)
    return engine


def test_fewer_blocks_and_pixels_take_less_time(engine):
    times = measure(engine, [Along(FULL), Along(SHORT)], seconds_at_most=5)
    short, full = times[Along(SHORT)], times[Along(FULL)]
    assert 0 < short.p50_ms < full.p50_ms <= full.p95_ms


def test_planning_is_no_time_of_a_branch_and_leaves_time_for_the_others(planning):
    wanted = [Along(branch, pictures) for pictures in planning.sizes for branch in (FULL, SHORT)]
    times = measure(planning, wanted, seconds_at_most=3, watch=planning.watch)
    assert {along: time.p95_ms for along, time in times.items()} == {
        along: pytest.approx(10 + along.pictures) for along in wanted
    }


def test_a_profile_keeps_times_by_the_number_of_pictures(planning, profile, tmp_path):
    measured, found = add_timings(Profile.read(profile), planning, 12, planning.watch)
    measured.write(tmp_path / "measured.json")
    timings = Profile.read(tmp_path / "measured.json").timings_on("a box", "planning", 1)
    assert timings.times["32:111111111"].p50_ms == pytest.approx(11)
    assert sorted(timings.together) == [2, 4]
    assert timings.together[4]["32:111111111"].p50_ms == pytest.approx(14)
    assert set(timings.together[4]) == set(timings.together[2]) <= set(timings.times)
    assert len(found) == sum(map(len, timings.every.values()))


def test_the_first_branches_are_timed_where_there_is_no_time_for_all(engine):
    second_a_look = itertools.count()
    branches = [FULL, SHORT, *(Branch(side, FULL.keep) for side in (20, 24, 28))]
    watch = Stopwatch(lambda: float(next(second_a_look)))
    times = measure(engine, map(Along, branches), seconds_at_most=12, watch=watch)
    assert list(times) == [Along(FULL)]


def test_measuring_ends_in_time(engine):
    keeps = np.random.default_rng(0).random((200, 8)) < 0.5
    branches = [Branch(32, (True, *map(bool, keep))) for keep in keeps]
    started = time.monotonic()
    times = measure(engine, map(Along, dict.fromkeys(branches)), seconds_at_most=1)
    assert times
    assert time.monotonic() - started < 2


def test_without_an_engine_named_both_are_timed_and_the_faster_one_is_said(done, profile, tmp_path):
    path = tmp_path / "measured.json"
    path.write_bytes(profile.read_bytes())
    printed = done("measure", path, "--seconds", 8, "--threads", 1)
    timed = {
        timings["engine"]: timings["times"]["32:111111111"]["p50_ms"]
        for timings in json.loads(path.read_text())["timings"]
    }
    assert timed.keys() == {"onnx", "torch"}
    assert f"{min(timed, key=timed.get)} is the faster engine" in printed


def test_times_are_written_into_the_profile_beside_those_of_other_engines(done, profile, tmp_path):
    path = tmp_path / "measured.json"
    path.write_bytes(profile.read_bytes())
    for _ in range(2):
        printed = done("measure", path, "--engine", "torch", "--seconds", 5, "--threads", 1)
    (timings,) = json.loads(path.read_text())["timings"]
    assert (timings["engine"], timings["threads"]) == ("torch", 1)
    assert len(timings["times"]) > 5
    assert timings["together"]["2"].keys() <= timings["times"].keys()
    assert "32:111111111" in printed
    assert "2 together" in printed
