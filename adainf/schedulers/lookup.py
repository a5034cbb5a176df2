"""The lookup table: the best measured branch within a budget, whatever the picture shows."""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.profile import Measured, Profile, WeightSet

__all__ = ["Choice", "LookupTable", "wanted_branches"]

# Each is exported or recorded at a start, and held in memory.
_MOST_BRANCHES = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch, its MACs (absolute, and relative to the full branch) and the accuracy expected of it (0..1).

    weights: the set that it runs with.
    """

    branch: Branch
    macs: int
    macs_fraction: float
    expected_accuracy: float
    weights: WeightSet = "base"

    @classmethod
    def of(cls, measured: Measured, full_macs: int) -> "Choice":
        """What a profile has measured of a branch, as a choice."""
        return cls(
            Branch.parse(measured.branch),
            measured.macs,
            measured.macs / full_macs,
            expected_accuracy(measured),
            measured.weights,
        )


class LookupTable:
    """The content-agnostic scheduler of AdaInf (Xu et al., 2024, section 3).

    Of the branches whose MACs fit a budget it takes the best one; of equally good ones the cheapest. The best has the
    lowest loss: of many nearly equal branches, the one that was right most often on a few hundred pictures is often
    only the luckiest. A profile without losses goes by accuracy.
    """

    def __init__(
        self, profile: Profile, allowed: Callable[[Branch], bool] = lambda _: True, most: int | None = None
    ) -> None:
        """allowed: restricts the branches that are considered; raises InvalidInputError where none is left.

        most: how many branches at most (two or more), those that matter most; each costs memory where it is kept ready.
        """
        full_macs = profile.space.macs(profile.space.full)
        considered = [measured for measured in profile.branches if allowed(Branch.parse(measured.branch))]
        frontier = [Choice.of(measured, full_macs) for measured in _frontier(considered)]
        if not frontier:
            raise InvalidInputError("profile: no branch of it is allowed")
        self.frontier: tuple[Choice, ...] = tuple(frontier if most is None else _thinned(frontier, most))

    @property
    def floor(self) -> float:
        """The smallest budget that some branch fits, a fraction of the full branch's MACs."""
        return self.frontier[0].macs_fraction

    def choose(self, budget: float) -> Choice:
        """The best branch within `budget`, a fraction of the full branch's MACs.

        Raises ValueError on a budget below `floor`: no branch fits it.
        """
        if not budget >= self.floor:  # so that NaN, no budget at all, does not pass
            raise ValueError(f"budget {budget}: no branch fits; the cheapest takes {self.floor}")
        # Compared as fractions: exactly what a reader of the message compares.
        within = bisect.bisect_right(self.frontier, budget, key=lambda choice: choice.macs_fraction)
        return self.frontier[within - 1]


def wanted_branches(profile: Profile) -> list[Branch]:
    """The branches that are kept ready: the full one, and those that matter most, in that order."""
    wanted = [profile.space.full]
    for most in range(2, _MOST_BRANCHES + 1):  # a table of more branches has all those of one of fewer
        wanted += [choice.branch for choice in LookupTable(profile, most=most).frontier]
    return list(dict.fromkeys(wanted))


def expected_accuracy(measured: Measured) -> float:
    """The accuracy a profile expects of a branch: against labels where there were some, else agreement."""
    return measured.agreement if measured.accuracy is None else measured.accuracy


def _frontier(branches: Sequence[Measured]) -> Iterator[Measured]:
    """Each branch that is better than all cheaper ones, cheapest first."""
    by_loss = all(measured.loss is not None for measured in branches)

    def badness(measured: Measured) -> float:
        return measured.loss if by_loss and measured.loss is not None else -expected_accuracy(measured)

    least = math.inf
    for measured in sorted(branches, key=lambda measured: (measured.macs, badness(measured))):
        if badness(measured) < least:
            least = badness(measured)
            yield measured


def _thinned(frontier: Sequence[Choice], most: int) -> list[Choice]:
    """At most `most` choices, the cheapest and the best among them.

    Again and again the one goes whose budgets lose least by the next cheaper one in its place: the accuracy between
    the two, times the budgets from it to the next dearer one.
    """
    kept = list(frontier)
    while len(kept) > max(2, most):

        def lost_without(index: int) -> float:
            budgets = kept[index + 1].macs_fraction - kept[index].macs_fraction
            return budgets * (kept[index].expected_accuracy - kept[index - 1].expected_accuracy)

        del kept[min(range(1, len(kept) - 1), key=lost_without)]
    return kept
