"""Projection onto a budget: the set of blocks with the largest sum of scores among those that fit."""

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from adainf.branch import PartMacs

__all__ = ["Projection"]

# Up to this many sets are compared for all rows at once; more are searched row by row.
_MOST_COMPARED = 1 << 15
# Up to this many sets are precomputed where a frame waits for each row.
_MOST_AT_HAND = 1 << 12
_CELLS_AT_ONCE = 1 << 22


class Projection:
    """An exact knapsack solver that chooses which blocks run so that no budget is exceeded.

    Blocks of equal cost differ only in their scores, so the largest scores of each cost are taken. Only the number
    taken of each cost remains to be found, and a network has few distinct costs: ResNet-32 has 14 skippable blocks and
    500 such combinations of counts.
    """

    def __init__(self, parts: PartMacs, droppable: Sequence[bool]) -> None:
        """parts: of the resolution to decide at. droppable: whether each block may be skipped."""
        self.droppable: NDArray[np.bool_] = np.array(droppable, bool)
        dearer = np.subtract(parts.blocks, parts.shortcuts, dtype=np.int64)
        self._costs: NDArray[np.int64] = dearer[self.droppable]
        least = tuple(not may or cost <= 0 for may, cost in zip(droppable, dearer, strict=True))
        self.least = parts.along(least)
        """MACs of the cheapest branch: no smaller budget is feasible."""
        self._always = parts.along((True,) * len(droppable)) - int(self._costs.sum())
        self.turned: NDArray[np.bool_] = self._costs < 0
        """Whether each skippable block is cheaper than its shortcut, so that skipping it costs MACs, and scores."""
        self.spent = self._always + int(self._costs[self.turned].sum())
        """MACs that are spent before any skippable block is decided."""

    @property
    def count(self) -> int:
        """The number of skippable blocks, and so of scores per row."""
        return len(self._costs)

    def macs(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the MACs (rows) of the branches that keep these of the skippable blocks (rows, count)."""
        macs: NDArray[np.int64] = self._always + kept @ self._costs
        return macs

    def keeps(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether each block of the backbone runs (rows, blocks), given that for the skippable ones."""
        whole = np.ones((len(kept), len(self.droppable)), bool)
        whole[:, self.droppable] = kept
        return whole

    def project(self, scores: NDArray[np.floating], budgets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the skippable blocks to keep (rows, count): the largest sum of scores within the budget.

        scores: (rows, count), of any sign, finite. budgets: (rows), MACs of the whole branch. A row whose budget is
        below `least` gets the cheapest branch.
        """
        signed: NDArray[np.float64] = np.where(self.turned, -scores, scores).astype(np.float64)
        solve = self._compared if self.sets <= _MOST_COMPARED else self._searched
        return solve(signed, np.maximum(budgets, self.least) - self.spent) ^ self.turned

    def within(self, budget: int) -> Callable[[NDArray[np.floating]], NDArray[np.bool_]]:
        """Return a function from one row of scores (count) to the blocks that run (blocks,), under a fixed budget.

        It agrees with `project`, except that ties between sets may break differently. Everything that does not depend
        on the scores is computed in advance.
        """
        if 1 << self.count > _MOST_AT_HAND:
            return lambda scores: self.keeps(self.project(scores[None], np.array([budget])))[0]
        sets, macs = self._every
        fitting = sets[macs <= max(budget, self.least)]
        summed, whole = fitting.astype(np.float32), self.keeps(fitting)
        return lambda scores: cast(NDArray[np.bool_], whole[(summed @ scores).argmax()])

    @cached_property
    def _every(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Every set of skippable blocks (sets, count), and the MACs of its branch (sets)."""
        sets = np.array(list(itertools.product((False, True), repeat=self.count)), bool)
        return sets, self.macs(sets)

    @cached_property
    def kinds(self) -> list[tuple[int, NDArray[np.intp]]]:
        """Each distinct cost with the positions of the blocks that have it."""
        costs = abs(self._costs)
        return [(int(cost), np.flatnonzero(costs == cost)) for cost in np.unique(costs)]

    @cached_property
    def sets(self) -> int:
        """The number of ways to take a count of each kind."""
        sets = 1
        for _, positions in self.kinds:
            sets *= len(positions) + 1
        return sets

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """Every way to take a count of each kind (sets, kinds), cheapest first."""
        counts = np.array(list(itertools.product(*(range(len(positions) + 1) for _, positions in self.kinds))), np.intp)
        order = np.argsort(counts @ np.array([cost for cost, _ in self.kinds], np.int64), kind="stable")
        return counts[order]

    def _compared(self, scores: NDArray[np.float64], room: NDArray[np.int64]) -> NDArray[np.bool_]:
        counts = self.counts
        if not self.count:
            return np.empty(scores.shape, bool)
        costs = counts @ np.array([cost for cost, _ in self.kinds], np.int64)
        kept = np.empty(scores.shape, bool)
        step = max(1, _CELLS_AT_ONCE // len(counts))
        for first in range(0, len(scores), step):
            rows = slice(first, first + step)
            orders, sums = zip(*(self._best_first(scores[rows], at) for _, at in self.kinds), strict=True)
            total = sum(summed[:, counts[:, kind]] for kind, summed in enumerate(sums))
            total = np.where(costs <= room[rows, None], total, -np.inf)
            best_counts = counts[total.argmax(axis=1)]
            for kind, (order, (_, positions)) in enumerate(zip(orders, self.kinds, strict=True)):
                kept[rows, positions] = order < best_counts[:, kind, None]
        return kept

    def _best_first(
        self, scores: NDArray[np.float64], positions: NDArray[np.intp]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return each block's rank by score, and the sums of the 0, 1, 2… largest scores."""
        own = scores[:, positions]
        order = np.argsort(-own, axis=1, kind="stable")
        largest = np.take_along_axis(own, order, axis=1)
        sums = np.concatenate([np.zeros((len(own), 1)), largest.cumsum(axis=1)], axis=1)
        return np.argsort(order, axis=1, kind="stable"), sums

    def _searched(self, scores: NDArray[np.float64], room: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([self._search(row, int(most)) for row, most in zip(scores, room, strict=True)])

    def _search(self, scores: NDArray[np.float64], room: int) -> NDArray[np.bool_]:
        """Extend the Pareto-optimal sets of MACs and scores block by block (Nemhauser and Ullmann, 1969)."""
        costs, sums = np.zeros(1, np.int64), np.zeros(1)
        sets = np.zeros((1, self.count), bool)
        for block in range(self.count):
            with_block = sets.copy()
            with_block[:, block] = True
            costs = np.concatenate([costs, costs + abs(self._costs[block])])
            sums = np.concatenate([sums, sums + scores[block]])
            sets = np.concatenate([sets, with_block])
            order = np.lexsort((-sums, costs))
            before = np.maximum.accumulate(np.concatenate([[-np.inf], sums[order][:-1]]))
            order = order[(sums[order] > before) & (costs[order] <= room)]
            costs, sums, sets = costs[order], sums[order], sets[order]
        best: NDArray[np.bool_] = sets[sums.argmax()]
        return best
