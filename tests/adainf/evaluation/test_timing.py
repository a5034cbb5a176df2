import itertools
import json
import time

import numpy as np
import pytest

from adainf.backbones import Options, load
from adainf.branch import Branch
from adainf.engines.torch import TorchEngine
from adainf.evaluation.timing import measure


@pytest.fixture(scope="module")
def engine():
    return TorchEngine(load("cifar/resnet20", Options("random")), "cpu", threads=1)


FULL = Branch(32, (True,) * 9)
SHORT = Branch(16, (True,) + (False,) * 8)


def test_fewer_blocks_and_pixels_take_less_time(engine):
    times = measure(engine, [FULL, SHORT], seconds_at_most=5)
    assert 0 < times[SHORT].p50_ms < times[FULL].p50_ms <= times[FULL].p95_ms


def test_the_first_branches_are_timed_where_there_is_no_time_for_all(engine):
    second_a_look = itertools.count()
    branches = [FULL, SHORT, *(Branch(side, FULL.keep) for side in (20, 24, 28))]
    times = measure(engine, branches, seconds_at_most=12, now=lambda: float(next(second_a_look)))
    assert list(times) == [FULL]


def test_measuring_ends_in_time(engine):
    keeps = np.random.default_rng(0).random((200, 8)) < 0.5
    branches = [Branch(32, (True, *map(bool, keep))) for keep in keeps]
    started = time.monotonic()
    times = measure(engine, dict.fromkeys(branches), seconds_at_most=1)
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
    assert len(timings["times"]) > 20
    assert "32:111111111" in printed
