"""One processor, many frames at once: how its time is divided between them. Pure.

A frame whose branch takes `c` milliseconds and that must be answered within `d` takes the share c / d of the processor.
While all shares together stay below one, each frame is answered in time when those with the least time left come first
(the density of a set of tasks under earliest deadline first: Liu and Layland, 1973). So it is this sum that is kept.

Frames that are answered together all wait for the last of them, so for these the time of all is kept within bounds: the
sum over the groups that go along one branch, each taking as long as its number of pictures was measured to take.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from adainf.control.costs import Costs, rounded_up

__all__ = ["PLANNED", "Claim", "divided", "divided_together", "share"]

PLANNED = 0.9
"""So much of the processor is given away: expected times are medians, and every other frame takes longer."""

_SHORTEST_MS = 0.1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Claim:
    """What a frame wants of the processor.

    least, most: budgets: the lowest that its policy knows, and what its controller allows. priority, need: above 0; of
    two claims the one with twice the product of both has twice as much of what is left. left_ms: until it must be
    answered. slowdown: how many times longer than expected forward passes take now. around_ms: what it takes beside
    its forward pass.
    """

    least: float
    most: float
    priority: float
    need: float
    left_ms: float
    slowdown: float = 1.0
    around_ms: float = 0.0

    @property
    def weight(self) -> float:
        """Its share of what is left, relative to other claims."""
        return self.priority * self.need


def share(claim: Claim, expected_ms: float) -> float:
    """The share of the processor that a branch of so many expected milliseconds takes until it must be through."""
    return (claim.around_ms + claim.slowdown * expected_ms) / max(_SHORTEST_MS, claim.left_ms)


def divided(claims: Sequence[Claim], costs: Costs) -> list[float]:
    """The budget of each claim: what it asks for where all fits, and never less than its least.

    All shares together stay within `PLANNED`. Each has its least branch first; what is left is divided by priority
    times need, and what one does not want is the others'. Where not even the least branches fit, a claim that takes
    more than its part by priority with it has no more than that, and counts as its part: it will be late, or its
    camera lose frames, whatever the others do. costs: with times.
    """
    options = [_options(claim, costs) for claim in claims]
    return _budgets(claims, costs, options, _divided(claims, costs, options))


def divided_together(claims: Sequence[Claim], costs: Costs) -> list[float]:
    """As `divided`, for frames that are answered together: by the time that groups of pictures take.

    A deadline that cannot be met even if all claims take their least branch is disregarded, so that it cuts no other
    claim. Two divisions are compared: one by weight, as if the frames were answered one by one, and one that sends all
    claims along the same branch, as far as the limits of each allow. The second is taken where it fits and gives no
    claim less than the first, or where the first does not fit. Time that is left over goes to the claims of the
    greatest weight. costs: with times.
    """
    options = [_options(claim, costs) for claim in claims]
    milliseconds = cache(costs.taken)  # asked for the same groups again and again
    quickest = _Together(claims, milliseconds, [each[0] for each in options]).milliseconds
    rooms = [PLANNED * max(_SHORTEST_MS, claim.left_ms) + _ROUNDING for claim in claims]
    room = min((room for room in rooms if room >= quickest), default=max(rooms))

    def fits(taken: Sequence[int]) -> bool:
        return _Together(claims, milliseconds, taken).milliseconds <= room

    wished = [each[-1] for each in options]
    if fits(wished):
        return [claim.most for claim in claims]
    within = [replace(claim, left_ms=room / PLANNED) for claim in claims]
    taken = _divided(within, costs.most_a_picture(len(claims)), options)
    alone_fits = fits(taken)
    for index in range(max(wished), min(each[0] for each in options) - 1, -1):
        alike = [min(max(index, each[0]), each[-1]) for each in options]
        if fits(alike) and (not alone_fits or all(one >= other for one, other in zip(alike, taken, strict=True))):
            taken = alike
            break
    together = _Together(claims, milliseconds, taken)
    for number in sorted(range(len(claims)), key=lambda number: -claims[number].weight):
        for index in reversed(options[number]):
            if index <= together.taken[number]:
                break
            before = together.taken[number]
            together.move(number, index)
            if together.milliseconds <= room:
                break
            together.move(number, before)
    return _budgets(claims, costs, options, together.taken)


class _Together:
    """Claims that are answered together, in groups by branch. taken: the place of each one's branch."""

    def __init__(self, claims: Sequence[Claim], group_ms: Callable[[int, int], float], taken: Sequence[int]) -> None:
        """group_ms: expected milliseconds of a group, by the place of its branch and its number of pictures."""
        self.taken = list(taken)
        self._claims = claims
        self._group_ms = group_ms
        self._around = sum(claim.around_ms for claim in claims)
        self._slowdowns: defaultdict[int, float] = defaultdict(float)
        for claim, index in zip(claims, taken, strict=True):
            self._slowdowns[index] += claim.slowdown
        self._counts = Counter(taken)

    @property
    def milliseconds(self) -> float:
        """Until all are answered; a group is as much slower than expected as its claims are on average."""
        return self._around + sum(
            self._slowdowns[index] / count * self._group_ms(index, count)
            for index, count in self._counts.items()
            if count
        )

    def move(self, number: int, index: int) -> None:
        """Let a claim go along another branch."""
        slowdown, before = self._claims[number].slowdown, self.taken[number]
        for place, count in ((before, -1), (index, 1)):
            self._counts[place] += count
            self._slowdowns[place] += count * slowdown
        self.taken[number] = index


def _divided(claims: Sequence[Claim], costs: Costs, options: Sequence[range]) -> list[int]:
    """The place of each claim's branch among its options, by the shares of the processor."""
    shares = [
        [share(claim, costs.milliseconds[index]) for index in each] for claim, each in zip(claims, options, strict=True)
    ]
    if sum(each[-1] for each in shares) <= PLANNED:
        return [each[-1] for each in options]
    least = [each[0] for each in shares]
    wants = [each[-1] - each[0] for each in shares]
    counted = least
    if sum(least) > PLANNED:
        priorities = sum(claim.priority for claim in claims)
        parts = [PLANNED * claim.priority / priorities for claim in claims]
        counted = [min(part, one) for part, one in zip(parts, least, strict=True)]
        wants = [want if one <= part else 0.0 for want, part, one in zip(wants, parts, least, strict=True)]
    weights = [claim.weight for claim in claims]
    given = _filled(PLANNED - sum(counted), weights, wants)
    taken = [_dearest(each, each[0] + room) for each, room in zip(shares, given, strict=True)]
    # Branches are whole: what is left over goes to those that weigh most.
    over = sum(given) - sum(each[took] - each[0] for each, took in zip(shares, taken, strict=True))
    for number in sorted(range(len(claims)), key=lambda number: -weights[number]):
        if wants[number] > 0:
            each, before = shares[number], shares[number][taken[number]]
            taken[number] = _dearest(each, before + over)
            over -= each[taken[number]] - before
    return [each[took] for each, took in zip(options, taken, strict=True)]


def _dearest(shares: Sequence[float], room: float) -> int:
    """The last of these shares that fits; the first one always does."""
    return next((place for place in range(len(shares) - 1, 0, -1) if shares[place] <= room + _ROUNDING), 0)


def _budgets(claims: Sequence[Claim], costs: Costs, options: Sequence[range], taken: Sequence[int]) -> list[float]:
    return [
        claim.most if index == each[-1] else min(claim.most, rounded_up(costs.fractions[index]))
        for claim, each, index in zip(claims, options, taken, strict=True)
    ]


def _options(claim: Claim, costs: Costs) -> range:
    """The branches that may run, by their place among the costs, cheapest first."""
    first, last = (max(1, bisect.bisect_right(costs.fractions, budget)) - 1 for budget in (claim.least, claim.most))
    return range(min(first, last), last + 1)


def _filled(total: float, weights: Sequence[float], wants: Sequence[float]) -> list[float]:
    """So much divided by weight; whoever wants less than his part leaves the rest to the others."""
    given = [0.0] * len(wants)
    unfilled = {number for number, want in enumerate(wants) if want > 0}
    while unfilled and total > 0:
        level = total / sum(weights[number] for number in unfilled)
        filled = {number for number in unfilled if wants[number] <= level * weights[number]}
        if not filled:
            for number in unfilled:
                given[number] = level * weights[number]
            break
        for number in filled:
            given[number] = wants[number]
            total -= wants[number]
        unfilled -= filled
    return given
