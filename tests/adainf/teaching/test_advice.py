import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.branch import Branch
from adainf.teaching.advice import wishes
from adainf.teaching.crossvalidation import HeldOut
from adainf.teaching.levels import wilson

BRANCH = Branch(8, (True,))


def told(answers: list[int], classes: int = 2) -> HeldOut:
    """Heads that give these answers."""
    scores = np.eye(classes, dtype=np.float32)[answers]
    return HeldOut({BRANCH: scores}, {BRANCH: np.zeros(len(answers))}, {BRANCH: 1.0})


LABELS = np.repeat([0, 1], 20)
RIGHT = LABELS.tolist()


def wrong(count: int) -> list[int]:
    """Answers of which so many of the second class are wrong."""
    return RIGHT[: 40 - count] + [0] * count


def test_a_class_that_is_always_right_wants_nothing():
    assert wishes(told(RIGHT), told(wrong(5)), [BRANCH], LABELS) == []


def test_the_steeper_the_errors_fall_the_fewer_pictures_are_wanted():
    gentle, steep = (wishes(told(wrong(4)), told(wrong(half)), [BRANCH], LABELS)[0] for half in (5, 8))
    assert (gentle.label, gentle.recall, gentle.half) == (1, pytest.approx(0.8), pytest.approx(0.75))
    assert gentle.more > steep.more == 23  # 4.5 errors for 8.5: as many again would nearly halve them


def test_where_half_of_the_pictures_teach_as_much_no_number_is_told():
    (wish,) = wishes(told(wrong(4)), told(wrong(4)), [BRANCH], LABELS)
    assert wish.more is None


@given(st.integers(1, 500).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_an_interval_holds_the_share_and_narrows_with_the_count(counts):
    right, count = counts
    low, high = wilson(right, count)
    assert 0 <= low <= right / count <= high <= 1
    lower, higher = wilson(4 * right, 4 * count)
    assert higher - lower < high - low
