"""The scheduler of correctness: it learns what a look tells, and takes what is worth its MACs and has room."""

import numpy as np
import pytest

from adainf.branch import Branch
from adainf.research.correctness_scheduler import ContentLook, Sight, certainty
from adainf.schedulers import Choice

MENU = tuple(Choice(Branch(8, (True,)), round(100 * macs), macs, macs) for macs in (0.2, 0.5, 1.0))
SIGHT = Sight.of_scout(MENU, 0)


@pytest.fixture
def look() -> ContentLook:
    """Of a cheap branch that is right where it is sure; of a dear one that is right nine times in ten; of a useless."""
    generator = np.random.default_rng(0)
    sure = generator.normal(size=(600, 1))
    right = np.column_stack([sure[:, 0] > 0, np.arange(600) % 10 > 0, np.arange(600) % 10 == 0])
    return ContentLook.fitted(SIGHT, sure, right, ridge=1.0)


def test_it_predicts_what_is_so(look: ContentLook) -> None:
    unsure, sure = look.right(np.array([[-2.0], [2.0]]))
    assert unsure[0] < 0.1 < 0.9 < sure[0]
    assert unsure[1] == pytest.approx(0.9, abs=0.05)
    assert sure[2] == pytest.approx(0.1, abs=0.05)


def test_compute_goes_where_it_changes_the_answer(look: ContentLook) -> None:
    right = look.right(np.array([[-2.0], [2.0]]))
    assert look.choose(right, 0.0, 9.0)[0] == 1
    assert look.choose(right, 0.5, 9.0).tolist() == [1, 0]
    assert look.choose(right, 5.0, 9.0).tolist() == [0, 0]


def test_what_has_no_room_is_not_taken(look: ContentLook) -> None:
    right = look.right(np.array([[-2.0]]))
    assert look.choose(right, 0.0, 0.69).tolist() == [0]
    assert look.choose(right, 0.0, 0.7).tolist() == [1]
    assert look.choose(right, 0.0, 0.0).tolist() == [0]


def test_the_same_pictures_teach_the_same(look: ContentLook) -> None:
    generator = np.random.default_rng(1)
    features, right = generator.normal(size=(50, 3)), generator.random((50, 3)) > 0.5
    one, other = (ContentLook.fitted(SIGHT, features, right, 1.0) for _ in range(2))
    np.testing.assert_array_equal(one.weights, other.weights)


def test_a_branch_that_was_always_right_can_be_learnt() -> None:
    features = np.random.default_rng(1).normal(size=(20, 2))
    look = ContentLook.fitted(SIGHT, features, np.ones((20, 3), bool), 1.0)
    assert look.right(features).min() > 0.8


def test_certainty_is_finite_at_both_ends() -> None:
    found = certainty(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32))
    assert np.isfinite(found).all()
    assert found[1].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_what_many_features_say_together_is_learnt_from_few_pictures() -> None:
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=(240, 1))
    features = hidden + generator.normal(0, 1.0, size=(240, 600))
    right = np.repeat(hidden > 0, 3, axis=1)
    look = ContentLook.fitted(SIGHT, features[:120], right[:120], ridge=3.0)
    told = look.right(features[120:])[:, 0] > 0.5
    assert (told == right[120:, 0]).mean() > 0.9
