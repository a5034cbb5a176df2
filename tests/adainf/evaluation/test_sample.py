import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace, PartMacs
from adainf.evaluation.sample import greedy_chain, sample


@st.composite
def spaces(draw):
    blocks = draw(st.integers(1, 9))
    droppable = (False, *draw(st.lists(st.booleans(), min_size=blocks, max_size=blocks)))
    costs = draw(st.lists(st.integers(1, 50), min_size=blocks + 1, max_size=blocks + 1))
    resolutions = draw(st.sets(st.sampled_from([16, 24, 32]), max_size=3)) | {32}
    parts = {
        side: PartMacs(side, tuple(cost * side for cost in costs), (0,) * len(costs), head=7) for side in resolutions
    }
    return BranchSpace(32, droppable, parts)


def skipped_cost(resolution, keeps):
    """The later a block, the more it hurts to skip it."""
    return [sum(index for index, kept in enumerate(keep) if not kept) + 1 / resolution for keep in keeps]


@settings(deadline=None, max_examples=50)
@given(spaces(), st.integers(12, 60), st.integers(0, 3))
def test_the_branches_that_matter_are_always_sampled(space, count, seed):
    branches = sample(space, count, skipped_cost, seed)
    assert {space.full, space.cheapest} <= set(branches)
    assert {Branch(resolution, space.full.keep) for resolution in space.parts} <= set(branches)
    assert len(set(branches)) == len(branches) <= count
    assert all(branch in space for branch in branches)
    assert branches == sample(space, count, skipped_cost, seed)
    chain, _ = greedy_chain(space.droppable, lambda keeps: skipped_cost(32, keeps))
    if len(chain) * len(space.parts) + 1 <= count - count // 8:
        assert {Branch(32, keep) for keep in chain} <= set(branches)


@settings(deadline=None, max_examples=50)
@given(spaces())
def test_a_space_that_is_small_enough_is_measured_whole(space):
    def never(resolution, keeps):
        raise AssertionError

    assert set(sample(space, space.count, never, 0)) == set(space)


def test_the_chain_skips_what_hurts_least_first():
    chain, tried = greedy_chain((False, True, True, True), lambda keeps: skipped_cost(32, keeps))
    assert ["".join("01"[kept] for kept in keep) for keep in chain] == ["1111", "1011", "1001", "1000"]
    assert len(tried) == 7


def test_fewer_branches_than_there_must_be_are_refused():
    parts = {side: PartMacs(1, (1,) * 12, (0,) * 12, 1) for side in (16, 32)}
    with pytest.raises(InvalidInputError, match="must be at least 3"):
        sample(BranchSpace(32, (False, *(True,) * 11), parts), 2, skipped_cost, 0)
