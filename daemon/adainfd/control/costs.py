"""What branches cost, in shares of the full branch's MACs and in time."""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adainf.schedulers import Choice

__all__ = ["Costs", "rounded_down", "rounded_up"]

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
    it was not measured.
    """

    fractions: tuple[float, ...]
    milliseconds: tuple[float, ...] = ()

    @classmethod
    def of(cls, frontier: Sequence[Choice], times: Mapping[str, float]) -> "Costs":
        """The costs of a lookup table's choices; times: median milliseconds by branch, used where all are known."""
        branches = [str(choice.branch) for choice in frontier]
        known = all(branch in times for branch in branches)
        fractions = tuple(choice.macs_fraction for choice in frontier)
        return cls(fractions, tuple(times[branch] for branch in branches) if known else ())

    @property
    def floor(self) -> float:
        """The smallest budget that a branch fits."""
        return self.fractions[0]

    @property
    def least(self) -> float:
        """The smallest budget, as budgets are told, that a branch fits."""
        return rounded_up(self.floor)

    def expected(self, fraction: float) -> float | None:
        """Milliseconds of a branch that takes this share of the full branch's MACs, by those of its neighbours."""
        if not self.milliseconds:
            return None
        right = bisect.bisect_left(self.fractions, fraction)
        if right == len(self.fractions) or right == 0 or self.fractions[right] == fraction:
            return self.milliseconds[min(right, len(self.milliseconds) - 1)]
        (one, other), (first, second) = self.fractions[right - 1 : right + 1], self.milliseconds[right - 1 : right + 1]
        return first + (second - first) * (fraction - one) / (other - one)

    def dearest(self, fits: Callable[[float], bool], otherwise: float | None = None) -> float:
        """The smallest budget for the dearest branch whose time `fits`, as those of all cheaper ones do.

        Where none does, `otherwise`, or the floor.
        """
        fitting = bisect.bisect_left(self.milliseconds, True, key=lambda time: not fits(time))
        if fitting:
            return rounded_up(self.fractions[fitting - 1])
        return self.floor if otherwise is None else otherwise
