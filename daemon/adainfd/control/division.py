"""One processor, many frames at once: how its time is divided between them. Pure.

A frame whose branch takes `c` milliseconds and that must be answered within `d` takes the share c / d of the processor.
While all shares together stay below one, each frame is answered in time when those with the least time left come first
(the density of a set of tasks under earliest deadline first: Liu and Layland, 1973). So it is this sum that is kept.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from adainfd.control.costs import Costs, rounded_up

__all__ = ["PLANNED", "Claim", "divided", "share"]

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
    shares = [
        [share(claim, costs.milliseconds[index]) for index in each] for claim, each in zip(claims, options, strict=True)
    ]
    if sum(each[-1] for each in shares) <= PLANNED:
        return [claim.most for claim in claims]
    least = [each[0] for each in shares]
    wants = [each[-1] - each[0] for each in shares]
    counted = least
    if sum(least) > PLANNED:
        priorities = sum(claim.priority for claim in claims)
        parts = [PLANNED * claim.priority / priorities for claim in claims]
        counted = [min(part, one) for part, one in zip(parts, least, strict=True)]
        wants = [want if one <= part else 0.0 for want, part, one in zip(wants, parts, least, strict=True)]
    weights = [claim.priority * claim.need for claim in claims]
    given = _filled(PLANNED - sum(counted), weights, wants)
    taken = [_dearest(each, each[0] + room) for each, room in zip(shares, given, strict=True)]
    # Branches are whole: what is left over goes to those that weigh most.
    over = sum(given) - sum(each[took] - each[0] for each, took in zip(shares, taken, strict=True))
    for number in sorted(range(len(claims)), key=lambda number: -weights[number]):
        if wants[number] > 0:
            each, before = shares[number], shares[number][taken[number]]
            taken[number] = _dearest(each, before + over)
            over -= each[taken[number]] - before
    return [
        claim.most if took == len(each) - 1 else _budget_of(costs.fractions[each[took]], claim)
        for claim, each, took in zip(claims, options, taken, strict=True)
    ]


def _dearest(shares: Sequence[float], room: float) -> int:
    """The last of these rising shares that fits; the first one always does."""
    return max(0, bisect.bisect_right(shares, room + _ROUNDING) - 1)


def _budget_of(fraction: float, claim: Claim) -> float:
    return min(claim.most, rounded_up(fraction))


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
