"""What branches cost, in shares of the full branch's MACs and in time."""

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adainf.portions import portions
from adainf.schedulers import Choice

__all__ = ["Costs", "Times", "rounded_down", "rounded_up"]

Times = Mapping[int, Mapping[str, float]]
"""Median milliseconds of a forward pass, by how many pictures run together and by branch; empty while unknown."""

# Budgets are told and compared in ten-thousandths: no branch differs from another by less.
_BUDGET_STEPS = 10_000
_ROUNDING = 1e-6


def rounded_up(fraction: float) -> float:
    """The smallest budget, as budgets are told, that is no less than `fraction`."""
    steps = math.floor(fraction * _BUDGET_STEPS)
    return (steps if steps / _BUDGET_STEPS >= fraction else steps + 1) / _BUDGET_STEPS


def rounded_down(fraction: float) -> float:
    """The largest budget, as budgets are told, that is no more than `fraction`."""
    return math.floor(fraction * _BUDGET_STEPS + _ROUNDING) / _BUDGET_STEPS


@dataclass(frozen=True, slots=True)
class Costs:
    """What the branches that may be chosen cost, cheapest first.

    fractions: of the full branch's MACs. milliseconds: median forward time here when nothing else runs; empty where
    it was not measured. together: the same of several pictures that go along a branch together, by their rising number.
    """

    fractions: tuple[float, ...]
    milliseconds: tuple[float, ...] = ()
    together: tuple[tuple[int, tuple[float, ...]], ...] = ()

    @classmethod
    def of(cls, frontier: Sequence[Choice], times: Times) -> "Costs":
        """The costs of a lookup table's choices; a number of pictures counts where all are timed with it."""
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
        """The smallest budget, as budgets are told, that a branch fits."""
        return rounded_up(self.cheapest)

    def expected(self, fraction: float, pictures: int = 1) -> float | None:
        """Milliseconds of a branch that takes this share of the full branch's MACs, by those of its neighbours.

        pictures: how many go along it together. They are padded to the next measured number; where there is none, they
        run in smaller groups.
        """
        if not self.milliseconds:
            return None
        return sum(self._between(times, fraction) for times in self._runs(pictures))

    def taken(self, index: int, pictures: int) -> float:
        """Milliseconds of so many pictures that go together along the branch at this place; where times are known."""
        return sum(times[index] for times in self._runs(pictures))

    def most_a_picture(self, pictures: int) -> "Costs":
        """Upper bounds on the costs of one picture among so many, in whatever groups they run."""
        if not self.together:
            return self
        # Of the groups that are padded to the same number, a picture takes longest in the smallest.
        groups = [1, *(size + 1 for size in (1, *dict(self.together)) if size < pictures)]
        places = range(len(self.milliseconds))
        return Costs(self.fractions, tuple(max(self.taken(place, n) / n for n in groups) for place in places))

    def _runs(self, pictures: int) -> Iterator[tuple[float, ...]]:
        """The times by branch of each of the runs that so many pictures together take."""
        if pictures == 1 or not self.together:
            return itertools.repeat(self.milliseconds, pictures)
        times = {1: self.milliseconds, **dict(self.together)}
        return (times[size] for size in portions(pictures, tuple(times)))

    def _between(self, milliseconds: Sequence[float], fraction: float) -> float:
        right = bisect.bisect_left(self.fractions, fraction)
        if right == len(self.fractions) or right == 0 or self.fractions[right] == fraction:
            return milliseconds[min(right, len(milliseconds) - 1)]
        (one, other), (first, second) = self.fractions[right - 1 : right + 1], milliseconds[right - 1 : right + 1]
        return first + (second - first) * (fraction - one) / (other - one)

    def dearest(self, fits: Callable[[float], bool], otherwise: float | None = None) -> float:
        """The smallest budget for the dearest branch whose time `fits`, as all shorter times do.

        Where none does, `otherwise`, or the floor.
        """
        # A cheaper branch may take longer: on a GPU one of fewer pixels takes longer than one of fewer blocks.
        by_time = sorted(range(len(self.milliseconds)), key=self.milliseconds.__getitem__)
        fitting = bisect.bisect_left(by_time, True, key=lambda index: not fits(self.milliseconds[index]))
        if fitting:
            return rounded_up(self.fractions[max(by_time[:fitting])])
        return self.cheapest if otherwise is None else otherwise
