"""What branches cost, alone and with other pictures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.branch import Branch
from adainf.control import Costs
from adainf.schedulers import Choice

CHEAP, FULL = Branch(8, (True, False)), Branch(8, (True, True))
FRONTIER = [Choice(CHEAP, 5, 0.5, 0.7), Choice(FULL, 10, 1.0, 0.8)]
COSTS = Costs((0.5, 1.0), (4.0, 6.0), ((2, (5.0, 8.0)), (8, (6.0, 12.0))))


@pytest.mark.parametrize(
    ("fraction", "pictures", "milliseconds"),
    [
        pytest.param(1.0, 1, 6.0, id="one"),
        pytest.param(1.0, 2, 8.0, id="two"),
        pytest.param(1.0, 3, 12.0, id="filled up to eight"),
        pytest.param(1.0, 9, 18.0, id="eight and one"),
        pytest.param(1.0, 20, 36.0, id="eight, eight and four filled up"),
        pytest.param(0.75, 1, 5.0, id="between two branches"),
        pytest.param(0.75, 8, 9.0, id="between two branches, eight"),
        pytest.param(0.2, 2, 5.0, id="below all"),
    ],
)
def test_pictures_together(fraction: float, pictures: int, milliseconds: float) -> None:
    assert COSTS.expected(fraction, pictures) == pytest.approx(milliseconds)


def test_what_was_not_measured_together_runs_one_by_one() -> None:
    assert Costs((0.5, 1.0), (4.0, 6.0)).expected(1.0, 5) == 30.0
    assert Costs((0.5, 1.0)).expected(1.0, 5) is None


def test_a_number_of_pictures_counts_where_every_branch_is_timed_with_it() -> None:
    every = {str(CHEAP): 4.0, str(FULL): 6.0}
    measured = {8: every, 1: every, 4: {str(FULL): 7.0}, 2: every}
    assert Costs.of(FRONTIER, measured) == Costs((0.5, 1.0), (4.0, 6.0), ((2, (4.0, 6.0)), (8, (4.0, 6.0))))
    assert Costs.of(FRONTIER, {2: every}) == Costs((0.5, 1.0))
    assert Costs.of(FRONTIER, {}) == Costs((0.5, 1.0))


@pytest.mark.parametrize(("within", "budget"), [(0.3, 0.33), (0.37, 0.61), (0.575, 0.61), (0.6, 1.0)])
def test_a_dearer_branch_may_be_the_faster_one(within: float, budget: float) -> None:
    """Of a GPU: at 128 pixels, with fewer blocks, all of them."""
    assert Costs((0.33, 0.61, 1.0), (0.57, 0.37, 0.58)).dearest(lambda time: time <= within) == budget


@given(st.lists(st.tuples(st.sampled_from([2, 4, 8, 16]), st.floats(0.1, 100)), max_size=4), st.data())
def test_no_group_takes_more_than_its_pictures_at_most(told: list[tuple[int, float]], data: st.DataObject) -> None:
    costs = Costs((1.0,), (3.0,), tuple((size, (ms,)) for size, ms in sorted(dict(told).items())))
    groups = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    most = costs.most_a_picture(sum(groups)).milliseconds[0]
    assert sum(costs.taken(0, group) for group in groups) <= most * sum(groups) * (1 + 1e-9)
