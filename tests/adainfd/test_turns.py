"""Whose frame comes next where not every frame can be answered."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from adainfd.answering.fair_queue import Occupied, in_turn
from adainfd.answering.session import CameraSession
from hypothesis import given
from hypothesis import strategies as st


def next_in_turn(streams: list[Any]) -> Any:
    waiting = in_turn(streams)
    if not waiting:
        return None
    waiting[0].take_turn()
    return waiting[0]


def streams(*priorities: float) -> list[Any]:
    return [
        CameraSession(SimpleNamespace(newest=SimpleNamespace(at=0.0), name=str(number)), (), priority)  # type: ignore[arg-type]
        for number, priority in enumerate(priorities)
    ]


def test_by_priority() -> None:
    cameras = streams(1, 2, 1)
    turns = Counter(next_in_turn(cameras).camera.name for _ in range(400))
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
    cameras[0].camera.newest = SimpleNamespace(at=0.0)
    following = [cameras.index(next_in_turn(cameras)) for _ in range(6)]
    assert following.count(1) >= 2
    for camera in cameras:
        camera.camera.newest = None
    assert next_in_turn(cameras) is None


def test_of_two_whose_turn_it_is_the_one_that_waits_longer() -> None:
    cameras = streams(1, 1, 1)
    cameras[1].camera.newest.at = -1.0
    assert in_turn(cameras) == [cameras[1], cameras[0], cameras[2]]
    cameras[1].take_turn()
    assert in_turn(cameras) == [cameras[0], cameras[2], cameras[1]]


def test_what_was_done_for_others_while_a_frame_waited() -> None:
    occupied = Occupied()
    occupied.note(0.0, 1.0, ["door"])
    occupied.note(1.0, 3.0, ["yard"])
    occupied.note(3.0, 5.0, ["door", "yard"])
    assert occupied.by_others("door", 2.0, 5.0) == 1.0 + 1.0
    assert occupied.by_others("yard", 0.5, 4.0) == 0.5 + 0.5
    assert occupied.by_others("gate", 0.5, 2.5) == 2.0
    assert occupied.by_others("gate", 5.0, 9.0) == 0.0
