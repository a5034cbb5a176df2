"""Tokens are earned with time and never pile up."""

from adainfd.base.token_bucket import TokenBucket
from hypothesis import given
from hypothesis import strategies as st


@given(
    at_once=st.integers(1, 1000),
    a_second=st.floats(0.1, 1000),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=50),
)
def test_whoever_takes_all_there_is_gets_so_many_at_once_and_then_so_many_a_second(
    at_once: int, a_second: float, pauses: list[float]
) -> None:
    bucket, now, taken = TokenBucket(at_once, a_second, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        assert bucket.earn(now) <= at_once
        while bucket.left >= 1:
            bucket.spend()
            taken += 1
    assert taken <= at_once + a_second * now + 1e-6 * len(pauses)


def test_debts_are_paid_first_and_gifts_do_not_pile_up() -> None:
    bucket = TokenBucket(2, 0.5, now=10.0)
    bucket.spend(4)
    assert (bucket.left, bucket.earn(12.0), bucket.earn(100.0)) == (-2, -1, 2)
    bucket.spend()
    bucket.give(5)
    assert bucket.left == 2
