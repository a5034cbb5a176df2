import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.research.price import Price


@given(
    st.lists(st.floats(0, 1), max_size=100),
    st.floats(0.05, 1),
    st.floats(0.1, 5),
    st.floats(0, 3),
)
def test_no_number_of_frames_takes_more_than_the_mean_and_the_bound(
    wishes: list[float], mean: float, bound: float, value: float
) -> None:
    price, taken = Price(mean, slack=bound, value=value), []
    for wish in wishes:
        taken.append(min(wish, price.allowed))
        price = price.after(taken[-1], wish)
        assert price.allowed >= mean - 1e-9  # a branch of the mean's size always has room
    sums = [0.0, *itertools.accumulate(taken)]
    for start, end in itertools.combinations(range(len(sums)), 2):
        assert sums[end] - sums[start] <= mean * (end - start) + bound + 1e-9


def test_the_price_settles_where_the_mean_is_spent() -> None:
    """Of two branches the dearer is worth its MACs up to a price that no frame knows before."""
    price, dear = Price(0.4, value=0.0), 0
    for frame in range(3000):
        # Each frame gains otherwise: between 0 and 0.5 for half of the MACs more.
        gain = 0.5 * ((frame * 0.618) % 1)
        wants = gain > price.value * 0.5
        takes = wants and price.allowed >= 0.7
        dear += takes
        price = price.after(0.7 if takes else 0.2, 0.7 if wants else 0.2)
    assert (0.7 * dear + 0.2 * (3000 - dear)) / 3000 == pytest.approx(0.4, abs=0.01)
    assert price.value == pytest.approx(0.6, abs=0.1)
