"""The states of a camera: what leads from one to the next."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from adainfd.capture.cameras.lifecycle import Deed, Lifecycle, Limits, Phase
from adainfd.capture.fault import Fault
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits(open_seconds=2, stall_seconds=1, retry_seconds=1, longest_retry_seconds=8)

# What the supervisor and the process can bring about, from each state.
REACHABLE = {
    Phase.CONNECTING: {Phase.ONLINE, Phase.OFFLINE, Phase.ENDED},
    Phase.ONLINE: {Phase.STALLED, Phase.OFFLINE, Phase.ENDED},
    Phase.STALLED: {Phase.ONLINE, Phase.OFFLINE, Phase.ENDED},
    Phase.OFFLINE: {Phase.CONNECTING},
    Phase.ENDED: set(),
}


def offline(failures: int) -> Lifecycle:
    camera = Lifecycle(LIMITS, 0.0, lambda: 0.0)
    now = 0.0
    for number in range(failures):
        camera.lost(now, Fault.CANNOT_OPEN, "no")
        if number < failures - 1:
            now = camera.due or now
            assert camera.tick(now) is Deed.CONNECT
    return camera


def test_frames_make_it_online_silence_stalls_it_and_a_frame_brings_it_back() -> None:
    camera = Lifecycle(LIMITS, 0.0)
    camera.came(1.0)
    assert camera.tick(1.9) is None
    assert camera.state is Phase.ONLINE
    assert camera.tick(2.0) is None
    assert (camera.state, camera.last.fault) == (Phase.STALLED, Fault.NO_FRAMES)
    camera.came(2.5)
    assert camera.state is Phase.ONLINE
    assert [change.state for change in camera.take_changes()] == ["connecting", "online", "stalled", "online"]
    assert camera.take_changes() == []


def test_process_that_neither_speaks_nor_ends_is_ended_and_replaced() -> None:
    camera = Lifecycle(LIMITS, 0.0, lambda: 0.0)
    camera.came(1.0)
    camera.tick(2.0)
    assert camera.tick(7.9) is None
    assert camera.tick(8.0) is Deed.END
    assert (camera.state, camera.last.fault) == (Phase.OFFLINE, Fault.PROCESS_HUNG)
    assert camera.tick(8.9) is None
    assert camera.tick(9.0) is Deed.RESTART
    assert camera.state is Phase.CONNECTING


def test_paced_source_may_take_its_interval_longer() -> None:
    camera = Lifecycle(LIMITS, 0.0)
    camera.came(0.0, interval=10.0)
    camera.tick(10.9)
    assert camera.state is Phase.ONLINE


def test_waits_double_up_to_the_longest() -> None:
    assert [offline(failures).last.retry_in for failures in range(1, 7)] == [1, 2, 4, 8, 8, 8]


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_waits_are_shortened_by_chance_never_lengthened(failures: int, chance: float) -> None:
    camera = Lifecycle(LIMITS, 0.0, lambda: chance)
    camera._failures = failures
    camera.lost(0.0, Fault.CANNOT_OPEN, "no")
    nominal = min(8.0, 2.0 ** min(failures, 3))
    assert nominal / 2 <= (camera.last.retry_in or 0) <= nominal


@pytest.mark.parametrize(("online_for", "wait"), [(4.1, 1), (3.9, 8)])
def test_only_who_stayed_online_for_as_long_as_he_was_waited_for_begins_anew(online_for: float, wait: float) -> None:
    """Else a decoder that dies of its first frame would be started every second."""
    camera = offline(3)
    now = camera.due or 0.0
    camera.tick(now)
    camera.came(now)
    camera.lost(now + online_for, Fault.STREAM_LOST, "gone")
    assert camera.last.retry_in == wait


Event = Callable[[Lifecycle, float], object]
EVENTS: list[Event] = [
    lambda camera, now: camera.tick(now),
    lambda camera, now: camera.state is not Phase.OFFLINE and camera.came(now),
    lambda camera, now: camera.state is not Phase.OFFLINE and camera.lost(now, Fault.STREAM_LOST, "gone"),
    lambda camera, now: camera.state is not Phase.OFFLINE and camera.died(now, Fault.PROCESS_DIED, "dead"),
]


@given(st.lists(st.tuples(st.floats(0.01, 20), st.sampled_from(EVENTS)), max_size=60))
def test_no_other_ways_and_never_forgotten(history: list[tuple[float, Event]]) -> None:
    camera, now = Lifecycle(LIMITS, 0.0), 0.0
    for passed, event in history:
        now += passed
        event(camera, now)
        assert camera.due is not None
        assert camera.due <= now + 15 + 2 * (2 + 2) + 1e-9
    states = [change.state for change in camera.take_changes()]
    assert states[0] is Phase.CONNECTING
    for before, after in pairwise(states):
        assert after in REACHABLE[before]
