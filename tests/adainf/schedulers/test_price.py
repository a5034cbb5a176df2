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
    price, taken = Price(mean, bound=bound, value=value), []
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
        # Each frame gains otherwise: between 0 and 0.8 for 0.8 of the MACs more.
        gain = 0.8 * ((frame * 0.618) % 1)
        wants = gain > price.value * 0.8
        takes = wants and price.allowed >= 1.0
        dear += takes
        price = price.after(1.0 if takes else 0.2, 1.0 if wants else 0.2)
    assert (dear + 0.2 * (3000 - dear)) / 3000 == pytest.approx(0.4, abs=0.01)
    assert price.value == pytest.approx(0.75, abs=0.1)
