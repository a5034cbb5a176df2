"""Decision points: what branches share is paid once, and what may follow goes on from there."""

import pytest
from hypothesis import given
from profiles import SMALL, profile, profiles

from adainf.branch import Branch
from adainf.profile import Profile
from adainf.research.correctness_scheduler import Sight
from adainf.research.decision import Point, decisions_of

CUT = Branch(8, (True, True, False))


@given(read=profiles(SMALL))
def test_nothing_runs_twice_and_nothing_is_forgotten(read: Profile) -> None:
    full = SMALL.macs(SMALL.full)
    for decision in decisions_of(read, 99):
        sight = Sight.of_decision(decision, SMALL)
        spent = decision.point.macs(SMALL)
        for choice, extra in zip(decision.menu, sight.extra, strict=True):
            assert decision.point.is_on(choice)
            assert spent + round(extra * full) == SMALL.macs(choice.branch)
            assert sight.cost + extra == pytest.approx(choice.macs_fraction, abs=1e-12)
            assert extra > 0


@given(read=profiles(SMALL))
def test_there_is_something_to_decide_after_a_later_block(read: Profile) -> None:
    found = decisions_of(read, 99)
    for decision in found:
        cost = [choice.macs for choice in decision.menu]
        worth = [choice.expected_accuracy for choice in decision.menu]
        assert len(cost) >= 2
        assert cost == sorted(set(cost))
        assert worth == sorted(set(worth))
        assert 2 <= len(decision.point.kept) < len(SMALL.droppable)
    assert len({decision.menu for decision in found}) == len(found)
    assert decisions_of(read, 1) == found[:1]


def test_a_group_far_behind_the_lookup_table_is_left_out() -> None:
    near = profile(SMALL, [(CUT, 0.75)])
    assert [str(decision.point) for decision in decisions_of(near, 9)] == ["8:base:11"]
    assert decisions_of(profile(SMALL, [(CUT, 0.6), (Branch(4, (True, True, True)), 0.79)]), 9) == ()


def test_a_point_is_read_as_it_is_written() -> None:
    point = Point(160, "adapted", (True, False, True))
    assert Point.parse(str(point)) == point
    with pytest.raises(ValueError, match="weights"):
        Point.parse("160:other:101")
