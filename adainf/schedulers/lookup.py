"""The lookup table: the best measured branch within a budget, regardless of the picture."""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.profile import Measured, Profile

__all__ = ["Choice", "LookupTable", "badness_in", "wanted_branches", "wanted_networks", "wanted_of"]

# Each branch is exported or recorded at startup and held in memory.
_MOST_BRANCHES = 12
_MOST_TAUGHT_BRANCHES = 6


@dataclass(frozen=True, slots=True)
class Choice:
    """A branch, its MACs (absolute, and relative to the full branch) and its expected accuracy (0..1)."""

    branch: Branch
    macs: int
    macs_fraction: float
    expected_accuracy: float

    @classmethod
    def of(cls, measured: Measured, full_macs: int) -> "Choice":
        """Return the choice for a branch that a profile has measured."""
        return cls(
            Branch.parse(measured.branch),
            measured.macs,
            measured.macs / full_macs,
            expected_accuracy(measured),
        )


class LookupTable:
    """The content-agnostic scheduler of AdaInf (Xu et al., 2024, section 3).

    The table takes the best of the branches whose MACs fit a budget; among equals, the cheapest. The best has the
    lowest loss: among many nearly equal branches, the most accurate one on a few hundred pictures is often merely the
    luckiest. A profile without losses goes by accuracy.

    >>> table = adainf.LookupTable(model.profile)
    >>> choice = table.choose(0.5)                          # the best branch within half of the full branch's MACs
    >>> print(choice.branch, choice.macs_fraction, choice.expected_accuracy)
    """

    def __init__(
        self, profile: Profile, allowed: Callable[[Branch], bool] = lambda _: True, most: int | None = None
    ) -> None:
        """allowed: restricts the candidate branches; raises InvalidInputError if none is left.

        most: the maximum number of branches (at least two); the most valuable are kept, as each takes memory.
        """
        full_macs = profile.space.full_macs
        considered = [measured for measured in profile.branches if allowed(Branch.parse(measured.branch))]
        frontier = [Choice.of(measured, full_macs) for measured in _frontier(considered)]
        if not frontier:
            raise InvalidInputError("profile: no branch of it is allowed")
        self.frontier: tuple[Choice, ...] = tuple(frontier if most is None else _thinned(frontier, most))

    @property
    def floor(self) -> float:
        """The smallest budget that any branch fits, as a fraction of the full branch's MACs."""
        return self.frontier[0].macs_fraction

    def choose(self, budget: float) -> Choice:
        """Return the best branch within `budget`, a fraction of the full branch's MACs.

        Raises ValueError on a budget below `floor`, which no branch fits.
        """
        if not budget >= self.floor:  # NaN, which is no budget, fails this comparison
            raise ValueError(f"budget {budget}: no branch fits; the cheapest takes {self.floor}")
        # Compared as fractions, exactly as a reader of the message compares them.
        within = bisect.bisect_right(self.frontier, budget, key=lambda choice: choice.macs_fraction)
        return self.frontier[within - 1]


def wanted_branches(profile: Profile) -> list[Branch]:
    """Return the branches to keep ready: the full one, the most valuable in descending order, other questions'."""
    frontier = LookupTable(profile, most=_MOST_BRANCHES).frontier
    wanted = [profile.space.full]
    for most in range(2, _MOST_BRANCHES + 1):  # a larger table contains every smaller one
        wanted += [choice.branch for choice in _thinned(frontier, most)]
    return list(dict.fromkeys([*wanted, *(branch for branches in profile.also for branch in branches)]))


def wanted_of(taught: Profile) -> list[Branch]:
    """Return the branches to keep ready for taught classes: the cheapest, the best, then the most valuable."""
    ends, table = LookupTable(taught, most=2), LookupTable(taught, most=_MOST_TAUGHT_BRANCHES)
    return list(dict.fromkeys(choice.branch for choice in (*ends.frontier, *table.frontier)))


def wanted_networks(profile: Profile) -> frozenset[str]:
    """Return what the branches of the networks to open name them: the reference, and those that may be chosen."""
    scheduled = {profile.scheduled_network} if profile.scheduled else set()
    return frozenset(branch.network for branch in wanted_branches(profile)) | scheduled


def expected_accuracy(measured: Measured) -> float:
    """Return a branch's expected accuracy: against labels where there were any, else its agreement."""
    return measured.agreement if measured.accuracy is None else measured.accuracy


def badness_in(branches: Sequence[Measured]) -> Callable[[Measured], float]:
    """Return what makes one of these branches worse than another: its loss, or without losses its inaccuracy."""
    by_loss = all(measured.loss is not None for measured in branches)

    def badness(measured: Measured) -> float:
        return measured.loss if by_loss and measured.loss is not None else -expected_accuracy(measured)

    return badness


def _frontier(branches: Sequence[Measured]) -> Iterator[Measured]:
    """Yield each branch that is better than all cheaper ones, cheapest first."""
    badness = badness_in(branches)
    least = math.inf
    for measured in sorted(branches, key=lambda measured: (measured.macs, badness(measured))):
        if badness(measured) < least:
            least = badness(measured)
            yield measured


def _thinned(frontier: Sequence[Choice], most: int) -> list[Choice]:
    """Return at most `most` choices, the cheapest and the best among them.

    Repeatedly drops the choice whose budgets lose least when the next cheaper one replaces it: the accuracy between
    the two, times the range of budgets up to the next dearer one.
    """
    kept = list(frontier)
    while len(kept) > max(2, most):

        def lost_without(index: int) -> float:
            budgets = kept[index + 1].macs_fraction - kept[index].macs_fraction
            return budgets * (kept[index].expected_accuracy - kept[index - 1].expected_accuracy)

        del kept[min(range(1, len(kept) - 1), key=lost_without)]
    return kept
