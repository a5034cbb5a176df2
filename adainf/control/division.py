"""Divide the time of one processor between concurrent frames. Pure.

A frame whose branch takes `c` milliseconds and that must be answered within `d` has the density c / d. While the
densities sum to at most one, earliest deadline first answers every frame in time (Liu and Layland, 1973). That sum is
therefore the quantity kept within bounds.

Frames that are answered together all wait for the last one, so for them the total time is bounded instead: the sum
over the groups that take the same branch, each at the measured time of its batch size.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from adainf.control.costs import Costs, rounded_up

__all__ = ["PLANNED", "Claim", "divided", "divided_together", "share"]

PLANNED = 0.9
"""The share of the processor that is handed out: expected times are medians, so half of all frames take longer."""

_SHORTEST_MS = 0.1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Claim:
    """A frame's claim on the processor.

    least, most: budgets: the policy's minimum and the controller's limit. priority, need: above 0; a claim with twice
    the product of both gets twice as much of the remainder. left_ms: until the answer is due. slowdown: current forward
    time as a multiple of the expected. around_ms: time spent outside the forward pass.
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
        """The claim's weight, relative to other claims, when the remainder is divided."""
        return self.priority * self.need


def share(claim: Claim, expected_ms: float) -> float:
    """Return the density of a branch that is expected to take `expected_ms`: its share of the processor until due."""
    return (claim.around_ms + claim.slowdown * expected_ms) / max(_SHORTEST_MS, claim.left_ms)


def divided(claims: Sequence[Claim], costs: Costs) -> list[float]:
    """Return each claim's budget: what it asks for where everything fits, and never below its minimum.

    The shares sum to at most `PLANNED`. Each claim first gets its cheapest branch; the remainder is divided by
    priority times need, and whatever a claim does not want goes to the others. Where not even the cheapest branches
    fit, a claim whose cheapest branch exceeds its part by priority gets only that branch and counts as that part: it
    will be late, or its camera will drop frames, whatever the others do. costs: with times.
    """
    options = [_options(claim, costs) for claim in claims]
    return _budgets(claims, costs, options, _divided(claims, costs, options))


def divided_together(claims: Sequence[Claim], costs: Costs) -> list[float]:
    """Return budgets as `divided` does, for frames that are answered together, by the batches' times.

    A deadline that cannot be met even with every claim on its cheapest branch is ignored, so that it cuts no other
    claim. Two divisions are compared: by weight, as if the frames were answered one by one, and with all claims on one
    branch, as far as each claim's limits allow. The second wins where it fits and gives no claim less than the first,
    or where the first does not fit. Time left over goes to the claims of the greatest weight. costs: with times.
    """
    options = [_options(claim, costs) for claim in claims]
    milliseconds = cache(costs.taken)  # the search below asks for the same batches again and again
    quickest = _Together(claims, milliseconds, [indices[0] for indices in options]).milliseconds
    rooms = [PLANNED * max(_SHORTEST_MS, claim.left_ms) + _ROUNDING for claim in claims]
    room = min((room for room in rooms if room >= quickest), default=max(rooms))

    def fits(chosen: Sequence[int]) -> bool:
        return _Together(claims, milliseconds, chosen).milliseconds <= room

    wished = [indices[-1] for indices in options]
    if fits(wished):
        return [claim.most for claim in claims]
    within = [replace(claim, left_ms=room / PLANNED) for claim in claims]
    chosen = _divided(within, costs.most_a_picture(len(claims)), options)
    alone_fits = fits(chosen)
    for index in range(max(wished), min(indices[0] for indices in options) - 1, -1):
        alike = [min(max(index, indices[0]), indices[-1]) for indices in options]
        if fits(alike) and (not alone_fits or all(same >= own for same, own in zip(alike, chosen, strict=True))):
            chosen = alike
            break
    together = _Together(claims, milliseconds, chosen)
    for number in sorted(range(len(claims)), key=lambda number: -claims[number].weight):
        for index in reversed(options[number]):
            if index <= together.chosen[number]:
                break
            before = together.chosen[number]
            together.move(number, index)
            if together.milliseconds <= room:
                break
            together.move(number, before)
    return _budgets(claims, costs, options, together.chosen)


class _Together:
    """Claims that are answered together, batched by branch. chosen: the branch index of each claim."""

    def __init__(self, claims: Sequence[Claim], group_ms: Callable[[int, int], float], chosen: Sequence[int]) -> None:
        """group_ms: expected milliseconds of a batch, by branch index and number of pictures."""
        self.chosen = list(chosen)
        self._claims = claims
        self._group_ms = group_ms
        self._around = sum(claim.around_ms for claim in claims)
        self._slowdowns: defaultdict[int, float] = defaultdict(float)
        for claim, index in zip(claims, chosen, strict=True):
            self._slowdowns[index] += claim.slowdown
        self._counts = Counter(chosen)

    @property
    def milliseconds(self) -> float:
        """Milliseconds until all claims are answered; a batch is slowed by the mean slowdown of its claims."""
        return self._around + sum(
            self._slowdowns[index] / count * self._group_ms(index, count)
            for index, count in self._counts.items()
            if count
        )

    def move(self, number: int, index: int) -> None:
        """Move claim `number` to branch `index`."""
        slowdown, before = self._claims[number].slowdown, self.chosen[number]
        for branch, count in ((before, -1), (index, 1)):
            self._counts[branch] += count
            self._slowdowns[branch] += count * slowdown
        self.chosen[number] = index


def _divided(claims: Sequence[Claim], costs: Costs, options: Sequence[range]) -> list[int]:
    """Return the branch index of each claim, dividing the processor by shares."""
    shares = [
        [share(claim, costs.milliseconds[index]) for index in indices]
        for claim, indices in zip(claims, options, strict=True)
    ]
    if sum(row[-1] for row in shares) <= PLANNED:
        return [indices[-1] for indices in options]
    least = [row[0] for row in shares]
    wants = [row[-1] - row[0] for row in shares]
    counted = least
    if sum(least) > PLANNED:
        priorities = sum(claim.priority for claim in claims)
        parts = [PLANNED * claim.priority / priorities for claim in claims]
        counted = [min(part, lowest) for part, lowest in zip(parts, least, strict=True)]
        wants = [want if lowest <= part else 0.0 for want, part, lowest in zip(wants, parts, least, strict=True)]
    weights = [claim.weight for claim in claims]
    given = _filled(PLANNED - sum(counted), weights, wants)
    chosen = [_dearest(row, row[0] + room) for row, room in zip(shares, given, strict=True)]
    # Branches are indivisible, so part of what was given is left over; it goes to the claims of the greatest weight.
    over = sum(given) - sum(row[place] - row[0] for row, place in zip(shares, chosen, strict=True))
    for number in sorted(range(len(claims)), key=lambda number: -weights[number]):
        if wants[number] > 0:
            row, before = shares[number], shares[number][chosen[number]]
            chosen[number] = _dearest(row, before + over)
            over -= row[chosen[number]] - before
    return [indices[place] for indices, place in zip(options, chosen, strict=True)]


def _dearest(shares: Sequence[float], room: float) -> int:
    """Return the position of the last share that fits; the first one always does."""
    return next((place for place in range(len(shares) - 1, 0, -1) if shares[place] <= room + _ROUNDING), 0)


def _budgets(claims: Sequence[Claim], costs: Costs, options: Sequence[range], chosen: Sequence[int]) -> list[float]:
    return [
        claim.most if index == indices[-1] else min(claim.most, rounded_up(costs.fractions[index]))
        for claim, indices, index in zip(claims, options, chosen, strict=True)
    ]


def _options(claim: Claim, costs: Costs) -> range:
    """Return the indices of the branches that a claim may run, cheapest first."""
    first, last = (max(1, bisect.bisect_right(costs.fractions, budget)) - 1 for budget in (claim.least, claim.most))
    return range(min(first, last), last + 1)


def _filled(total: float, weights: Sequence[float], wants: Sequence[float]) -> list[float]:
    """Divide `total` by weight (water-filling); whatever a claim does not want goes to the others."""
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
