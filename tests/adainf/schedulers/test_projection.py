import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adainf.branch import PartMacs
from adainf.schedulers import projection
from adainf.schedulers.projection import Projection


@st.composite
def networks(draw: st.DrawFn) -> tuple[PartMacs, tuple[bool, ...]]:
    """Few kinds of blocks, as networks have them, or all different; some cheaper than their shortcuts."""
    blocks = draw(st.integers(1, 8))
    some = st.lists(st.integers(0, draw(st.sampled_from([3, 10**9]))), min_size=blocks, max_size=blocks)
    parts = PartMacs(draw(st.integers(0, 9)), tuple(draw(some)), tuple(draw(some)), draw(st.integers(0, 9)))
    return parts, (False, *draw(st.lists(st.booleans(), min_size=blocks - 1, max_size=blocks - 1)))


scores_of_a_block = st.floats(-8, 8) | st.integers(-1, 1).map(float)


def _every(projected: Projection) -> np.ndarray:
    return np.array(list(itertools.product([False, True], repeat=projected.count)), bool).reshape(
        1 << projected.count, projected.count
    )


@pytest.mark.parametrize("most_compared", [1 << 15, 0])
@pytest.mark.parametrize("most_at_hand", [1 << 12, 0])
@given(network=networks(), data=st.data())
def test_nothing_that_fits_has_a_larger_sum_of_scores(network, data, most_compared, most_at_hand):
    projected = Projection(*network)
    rows = data.draw(st.integers(1, 3))
    row = st.lists(scores_of_a_block, min_size=projected.count, max_size=projected.count)
    scores = np.array(data.draw(st.lists(row, min_size=rows, max_size=rows))).reshape(rows, projected.count)
    every = _every(projected)
    macs = projected.macs(every)
    budgets = np.array(
        [
            data.draw(st.sampled_from(sorted({*macs.tolist()})) | st.integers(0, int(macs.max()) + 1))
            for _ in range(rows)
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "_MOST_AT_HAND", most_at_hand)
        patch.setattr(projection, "_MOST_COMPARED", most_compared)
        kept = projected.project(scores, budgets)
        whole = [projected.within(int(budget))(own) for own, budget in zip(scores, budgets, strict=True)]
    one_by_one = [blocks[projected.droppable] for blocks in whole]
    for own, budget, chosen in zip([*scores, *scores], [*budgets, *budgets], [*kept, *one_by_one], strict=True):
        fits = every[macs <= max(budget, projected.least)]
        assert projected.macs(chosen[None])[0] <= max(budget, projected.least)
        assert own @ chosen == pytest.approx((fits @ own).max())


@given(network=networks())
def test_macs_are_those_of_the_whole_way(network):
    parts, droppable = network
    projected = Projection(parts, droppable)
    every = _every(projected)
    along = [parts.along(tuple(keep)) for keep in projected.keeps(every).tolist()]
    assert projected.macs(every).tolist() == along
    assert projected.least == min(along)


def test_many_different_blocks_are_projected_too():
    generator = np.random.default_rng(0)
    parts = PartMacs(10, tuple(generator.integers(10**6, 10**8, 33).tolist()), (0,) * 33, 10)
    projected = Projection(parts, (False, *(True,) * 32))
    scores = generator.normal(size=(2, 32))
    budget = parts.along((True,) * 33) // 4
    kept = projected.project(scores, np.array([budget, budget]))
    assert (projected.macs(kept) <= budget).all()
    # By the densest first, a good solution but seldom the best one.
    costs = np.array(parts.blocks[1:])
    for own, chosen in zip(scores, kept, strict=True):
        room, greedy = budget - projected.least, 0.0
        for block in np.argsort(-own / costs):
            if own[block] > 0 and costs[block] <= room:
                room, greedy = room - costs[block], greedy + own[block]
        assert own @ chosen >= greedy - 1e-9
