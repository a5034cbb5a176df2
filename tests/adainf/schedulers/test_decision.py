"""Decision points: what branches share is paid once, and what may follow goes on from there."""

import pytest
from family_profiles import families
from hypothesis import given
from profiles import SMALL, profile, profiles

from adainf.branch import Branch
from adainf.profile import Profile
from adainf.research.correctness_scheduler import Sight
from adainf.research.decision import Point, decisions_of

CUT = Branch(8, (True, True, False))


@given(read=profiles(SMALL) | families())
def test_nothing_runs_twice_and_nothing_is_forgotten(read: Profile) -> None:
    space = read.space
    for decision in decisions_of(read, 99):
        sight = Sight.of_decision(decision, space)
        spent = decision.point.macs(space)
        for choice, extra in zip(decision.menu, sight.extra, strict=True):
            assert decision.point.is_on(choice.branch)
            assert spent + round(extra * space.macs(space.full)) == space.macs(choice.branch)
            assert sight.cost + extra == pytest.approx(choice.macs_fraction, abs=1e-12)
            assert extra > 0


@given(read=profiles(SMALL) | families())
def test_there_is_something_to_decide_after_a_later_block(read: Profile) -> None:
    found = decisions_of(read, 99)
    for decision in found:
        cost = [choice.macs for choice in decision.menu]
        worth = [choice.expected_accuracy for choice in decision.menu]
        assert len(cost) >= 2
        assert cost == sorted(set(cost))
        assert worth == sorted(set(worth))
        network = read.space.networks[decision.point.network]
        assert 2 <= len(decision.point.kept) < len(network.droppable)
        assert {choice.branch.network for choice in decision.menu} == {decision.point.network}
    assert len({decision.menu for decision in found}) == len(found)
    assert decisions_of(read, 1) == found[:1]


def test_a_group_far_behind_the_lookup_table_is_left_out() -> None:
    near = profile(SMALL, [(CUT, 0.75)])
    assert [str(decision.point) for decision in decisions_of(near, 9)] == ["8:11"]
    assert decisions_of(profile(SMALL, [(CUT, 0.6), (Branch(4, (True, True, True)), 0.79)]), 9) == ()


def test_a_point_is_read_as_it_is_written() -> None:
    for point in (Point(160, (True, False, True)), Point(160, (True, False, True), "adapted")):
        assert Point.parse(str(point)) == point
    assert str(point) == "adapted/160:101"
    with pytest.raises(ValueError, match="160:base"):
        Point.parse("160:base:101")  # as an older version wrote it
