"""Whose frame comes next where not every frame can be answered."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from adainfd.stream import Stream, next_in_turn
from hypothesis import given
from hypothesis import strategies as st


def streams(*priorities: float) -> list[Any]:
    return [
        Stream(SimpleNamespace(newest=object(), name=str(number)), (), priority)  # type: ignore[arg-type]
        for number, priority in enumerate(priorities)
    ]


def test_by_priority() -> None:
    cameras = streams(1, 2, 1)
    turns = Counter(next_in_turn(cameras).camera.name for _ in range(400))  # type: ignore[union-attr]
    assert turns == {"0": 100, "1": 200, "2": 100}


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
def test_none_starves(priorities: list[float]) -> None:
    cameras = streams(*priorities)
    bound = sum(priorities) / min(priorities) + len(priorities) + 1
    waited = dict.fromkeys(range(len(cameras)), 0)
    for _ in range(200):
        chosen = cameras.index(next_in_turn(cameras))
        for number in waited:
            waited[number] = 0 if number == chosen else waited[number] + 1
            assert waited[number] <= bound


def test_who_was_away_has_saved_up_nothing() -> None:
    cameras = streams(1, 1)
    cameras[0].camera.newest = None
    for _ in range(100):
        assert next_in_turn(cameras) is cameras[1]
    cameras[0].camera.newest = object()
    following = [cameras.index(next_in_turn(cameras)) for _ in range(6)]
    assert following.count(1) >= 2
    for camera in cameras:
        camera.camera.newest = None
    assert next_in_turn(cameras) is None
