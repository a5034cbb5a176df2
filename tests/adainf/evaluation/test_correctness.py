"""The scheduler of correctness on answers that are made so that one knows what it should learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import SMALL, profile

from adainf.branch import Branch
from adainf.evaluation.subject import Point
from adainf.research.answers import Answers
from adainf.research.correctness import content_methods, learnt
from adainf.research.methods import methods
from adainf.research.report import gain_of

CHEAP = Branch(4, (True, False, False))
PROFILE = profile(SMALL, [(CHEAP, 0.5)])


def answers(seed: int, *, told: bool) -> Answers:
    """The cheap branch is right on every other picture; told: where it is, it is sure. The full one is always right."""
    pictures = 400
    generator = np.random.default_rng(seed)
    truth = np.ones(pictures, np.int64)
    easy = generator.random(pictures) < 0.5
    classes = np.zeros((pictures, 2, 3), np.int32)
    classes[:, 0] = (1, 2, 3)
    classes[:, 1] = np.where(easy[:, None], (1, 2, 3), (2, 1, 3))
    sure = easy if told else generator.random(pictures) < 0.5
    shares = np.zeros((pictures, 2, 3), np.float32)
    shares[:, 0] = (0.98, 0.01, 0.01)
    shares[:, 1] = np.where(sure[:, None], (0.9, 0.05, 0.05), (0.4, 0.3, 0.3))
    shares[:, 1] += generator.normal(0, 0.005, (pictures, 1))
    features = generator.normal(size=(pictures, 4)).astype(np.float32)
    return Answers((SMALL.full, CHEAP), classes, shares, features, truth)


def gains(*, told: bool) -> dict[str, float]:
    taught, tried = answers(0, told=told), answers(1, told=told)
    scheduler = learnt(PROFILE, taught)
    mixing = next(method for method in methods(PROFILE, tried) if method.bound == "mean")
    return {method.name: gain_of(method, mixing, 0.6, 0.8).gain for method in content_methods(scheduler, tried, seed=0)}


def test_where_a_look_tells_content_pays_and_shuffled_content_does_not() -> None:
    found = gains(told=True)
    assert found["content"] > 0.1
    assert found["content, shuffled"] < 0.05


def test_where_no_look_tells_none_is_taken() -> None:
    found = gains(told=False)
    assert found["content"] == pytest.approx(0, abs=0.03)
    assert learnt(PROFILE, answers(0, told=False)).looks_at.max() == -1


def test_no_budget_is_exceeded() -> None:
    tried = answers(1, told=True)
    for method in content_methods(learnt(PROFILE, answers(0, told=True)), tried, seed=0):
        for mean in (0.2, 0.4, 0.6, 0.8):
            assert method.at(mean).macs <= mean + 1e-9


PARTING = Branch(8, (True, True, False))
SHARED = Point(8, (True, True))
DECIDING = profile(SMALL, [(PARTING, 0.6), (CHEAP, 0.2)])


def passing(seed: int, *, told: bool) -> Answers:
    """The full branch is always right, the one that parts from it late on six of ten pictures; told: on which is seen.

    The cheap one is right on a fifth, and its answers say nothing.
    """
    pictures = 400
    generator = np.random.default_rng(seed)
    easy = generator.random(pictures) < 0.6
    classes = np.zeros((pictures, 3, 3), np.int32)
    classes[:, 0] = (1, 2, 3)
    classes[:, 1] = np.where(easy[:, None], (1, 2, 3), (2, 1, 3))
    classes[:, 2] = np.where(generator.random((pictures, 1)) < 0.2, (1, 2, 3), (3, 2, 1))
    shares = np.tile(np.array([0.5, 0.3, 0.1], np.float32), (pictures, 3, 1))
    features = generator.normal(size=(pictures, 4)).astype(np.float32)
    seen = easy if told else generator.random(pictures) < 0.5
    passed = seen[:, None] + generator.normal(0, 0.3, size=(pictures, 6))
    ways = (SMALL.full, PARTING, CHEAP)
    return Answers(ways, classes, shares, features, np.ones(pictures, np.int64), {SHARED: passed.astype(np.float16)})


def test_where_a_later_block_tells_it_is_decided_there_and_shuffled_content_gains_nothing() -> None:
    scheduler, tried = learnt(DECIDING, passing(0, told=True)), passing(1, told=True)
    assert SHARED in {scheduler.looks[look].sight.point for look in scheduler.looks_at if look >= 0}
    mixing = next(method for method in methods(DECIDING, tried) if method.bound == "mean")
    content, shuffled = (gain_of(method, mixing, 0.7, 0.95).gain for method in content_methods(scheduler, tried, 0))
    assert content > 0.08
    assert shuffled < 0.02


def test_where_no_later_block_tells_none_is_looked_at() -> None:
    assert learnt(DECIDING, passing(0, told=False)).looks_at.max() == -1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), mean=st.floats(0.3, 1.0), told=st.booleans())
def test_with_decisions_at_later_blocks_no_mean_is_exceeded(seed: int, mean: float, told: bool) -> None:
    scheduler, tried = learnt(DECIDING, passing(0, told=True)), passing(seed, told=told)
    for method in content_methods(scheduler, tried, seed):
        assert method.at(mean).macs <= mean + 1e-9


def test_two_answers_together_are_what_both_find_likely() -> None:
    classes = np.array([[[7, 3, 5], [3, 9, 1]], [[7, 3, 5], [7, 9, 1]]], np.int32)
    shares = np.array([[[0.5, 0.4, 0.05], [0.6, 0.2, 0.1]], [[0.5, 0.4, 0.05], [0.4, 0.3, 0.1]]], np.float32)
    both = Answers((SMALL.full, CHEAP), classes, shares, np.zeros((2, 1), np.float32), np.zeros(2, np.int64))
    assert both.together(0, 1).tolist() == [3, 7]
    assert both.together(1, 0).tolist() == [3, 7]
    assert both.together(0, 0).tolist() == [7, 7]
