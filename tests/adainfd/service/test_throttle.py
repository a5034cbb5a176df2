"""A thread that obeys takes its share of a processor, whatever its work costs."""

from adainfd.service.web.throttle import Throttle
from hypothesis import given
from hypothesis import strategies as st


@given(share=st.floats(0.01, 1), at_once=st.floats(0.01, 1), costs=st.lists(st.floats(0.0001, 2), min_size=1))
def test_the_share_is_kept(share: float, at_once: float, costs: list[float]) -> None:
    now = used = 0.0
    throttle = Throttle(share, at_once, lambda: used, lambda: now)
    for cost in costs:
        now += throttle.seconds_to_wait()
        assert used <= at_once + share * now + 1e-6
        used, now = used + cost, now + cost


def test_whoever_did_little_begins_at_once() -> None:
    times = iter([0.0, 0.0, 1.0, 1000.0])
    throttle = Throttle(0.1, 0.05, lambda: 0.0, lambda: next(times))
    assert [throttle.seconds_to_wait() for _ in range(3)] == [0, 0, 0]
