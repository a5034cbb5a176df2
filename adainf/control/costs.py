"""Branch costs, in shares of the full branch's MACs and in time."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adainf.portions import portions
from adainf.schedulers import Choice

__all__ = ["Costs", "Times", "rounded_down", "rounded_up"]

Times = Mapping[int, Mapping[str, float]]
"""Median milliseconds of a forward pass, by batch size and by branch; empty while unknown."""

# Budgets are published and compared in ten-thousandths: no two branches differ by less.
_BUDGET_STEPS = 10_000
_ROUNDING = 1e-6


def rounded_up(fraction: float) -> float:
    """Return the smallest budget, in ten-thousandths, that is at least `fraction`."""
    steps = math.floor(fraction * _BUDGET_STEPS)
    return (steps if steps / _BUDGET_STEPS >= fraction else steps + 1) / _BUDGET_STEPS


def rounded_down(fraction: float) -> float:
    """Return the largest budget, in ten-thousandths, that is at most `fraction`."""
    return math.floor(fraction * _BUDGET_STEPS + _ROUNDING) / _BUDGET_STEPS


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of the candidate branches, cheapest first.

    fractions: of the full branch's MACs. milliseconds: median forward time on this idle box; empty where it was not
    measured. together: (batch size, milliseconds of a batch by branch), by rising batch size above 1.
    """

    fractions: tuple[float, ...]
    milliseconds: tuple[float, ...] = ()
    together: tuple[tuple[int, tuple[float, ...]], ...] = ()

    @classmethod
    def of(cls, frontier: Sequence[Choice], times: Times) -> "Costs":
        """Return the costs of a lookup table's choices; a batch size counts only where every branch was timed at it."""
        branches = [str(choice.branch) for choice in frontier]
        known = {
            pictures: tuple(measured[branch] for branch in branches)
            for pictures, measured in sorted(times.items())
            if all(branch in measured for branch in branches)
        }
        fractions, single = tuple(choice.macs_fraction for choice in frontier), known.pop(1, ())
        return cls(fractions, single, tuple(known.items()) if single else ())

    @property
    def cheapest(self) -> float:
        """The smallest budget that a branch fits."""
        return self.fractions[0]

    @property
    def smallest_budget(self) -> float:
        """The smallest budget, in ten-thousandths, that a branch fits."""
        return rounded_up(self.cheapest)

    def expected(self, fraction: float, pictures: int = 1) -> float | None:
        """Return the interpolated milliseconds of a branch with this share of the full branch's MACs; None if untimed.

        pictures: how many run together. They are padded to the next measured batch size, or split into smaller batches
        where there is none.
        """
        if not self.milliseconds:
            return None
        return sum(self._between(times, fraction) for times in self._runs(pictures))

    def taken(self, index: int, pictures: int) -> float:
        """Return the milliseconds of `pictures` that run together along branch `index`. Needs measured times."""
        return sum(times[index] for times in self._runs(pictures))

    def most_a_picture(self, pictures: int) -> "Costs":
        """Return upper bounds on the costs of one picture among `pictures`, however they are batched."""
        if not self.together:
            return self
        # Of the groups padded to one batch size, the smallest costs most per picture.
        groups = [1, *(size + 1 for size in (1, *dict(self.together)) if size < pictures)]
        branches = range(len(self.milliseconds))
        return Costs(self.fractions, tuple(max(self.taken(index, n) / n for n in groups) for index in branches))

    def _runs(self, pictures: int) -> Iterator[tuple[float, ...]]:
        """Return the times by branch of each batch that `pictures` are split into."""
        if pictures == 1 or not self.together:
            return itertools.repeat(self.milliseconds, pictures)
        times = {1: self.milliseconds, **dict(self.together)}
        return (times[size] for size in portions(pictures, tuple(times)))

    def _between(self, milliseconds: Sequence[float], fraction: float) -> float:
        right = bisect.bisect_left(self.fractions, fraction)
        if right == len(self.fractions) or right == 0 or self.fractions[right] == fraction:
            return milliseconds[min(right, len(milliseconds) - 1)]
        (low, high), (first, second) = self.fractions[right - 1 : right + 1], milliseconds[right - 1 : right + 1]
        return first + (second - first) * (fraction - low) / (high - low)

    def dearest(self, fits: Callable[[float], bool], otherwise: float | None = None) -> float:
        """Return the smallest budget for the dearest branch whose time `fits`; `fits` must hold for all shorter times.

        Where all branches fit, return 1: nothing is limited. Where none fits, return `otherwise`, or the cheapest
        branch's fraction.
        """
        # A cheaper branch may be slower: on a GPU, a lower resolution saves less time than skipping blocks.
        by_time = sorted(range(len(self.milliseconds)), key=self.milliseconds.__getitem__)
        fitting = bisect.bisect_left(by_time, True, key=lambda index: not fits(self.milliseconds[index]))
        if fitting == len(by_time) > 0:
            return 1.0
        if fitting:
            return rounded_up(self.fractions[max(by_time[:fitting])])
        return self.cheapest if otherwise is None else otherwise

    def within(self, fraction: float) -> float:
        """Return the milliseconds of the dearest branch that fits a budget, or else of the cheapest one."""
        return self.milliseconds[max(0, bisect.bisect_right(self.fractions, fraction) - 1)]

    def above(self, fraction: float) -> float:
        """Return the smallest budget for the cheapest branch that does not fit `fraction`; 1 if all fit."""
        right = bisect.bisect_right(self.fractions, fraction)
        return 1.0 if right == len(self.fractions) else rounded_up(self.fractions[right])
