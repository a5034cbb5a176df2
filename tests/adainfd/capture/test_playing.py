import itertools

import pytest
from adainfd.capture.worker.playing import Playing
from hypothesis import given
from hypothesis import strategies as st

RATE = 25.0


def dues(positions: list[float | None], interval: float = 1 / RATE) -> list[float]:
    """When each frame is due, seconds after the first."""
    playing = Playing(interval, 100.0, positions[0])
    found = [playing.due]
    for position in positions[1:]:
        playing.go_on(position)
        found.append(playing.due)
    return [due - 100 for due in found]


@given(st.lists(st.floats(0.001, 59), max_size=30), st.floats(0, 1e5))
def test_frames_come_as_they_were_filmed(steps: list[float], start: float) -> None:
    positions = [start]
    for step in steps:
        positions.append(positions[-1] + step)
    assert dues([*positions]) == pytest.approx([position - start for position in positions], abs=1e-3)


def test_without_times_they_come_at_the_mean_rate() -> None:
    expected = pytest.approx([n / RATE for n in range(4)])
    assert dues([None] * 4) == expected
    assert dues([0.0] * 4) == expected
    assert dues([3.0, 2.0, 1.0, 0.0]) == expected
    assert dues([0.0, 1e5, 2e5, 3e5]) == expected


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e7)), min_size=1, max_size=40), st.floats(0.001, 100))
def test_whatever_times_say_the_next_frame_comes_and_no_earlier(positions: list[float | None], interval: float) -> None:
    found = dues(positions, interval)
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert all(0 <= gap <= max(60, interval) * 1.001 for gap in gaps)


def test_frames_that_were_passed_over_take_their_time() -> None:
    playing = Playing(1 / RATE, 0.0)
    playing.go_on(None, 5)
    assert playing.due == pytest.approx(5 / RATE)


@given(st.lists(st.floats(0.001, 50), min_size=1, max_size=30))
def test_the_next_frame_is_decoded_after_this_one_and_before_it_is_due(steps: list[float]) -> None:
    """Even where a burst follows a pause, once there was a burst before."""
    playing, position = Playing(1.0, 0.0, 0.0), 0.0
    for step in [min(steps), *steps]:
        decode_at = playing.decode_at
        assert decode_at >= playing.due
        position += step
        first = position == step
        playing.go_on(position)
        assert first or decode_at <= playing.due + 1e-6
