"""How long frames take here, by how long the recent ones took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outcome", "quantile_along", "slowdown"]

# A few slow frames are enough to see a neighbour come; rare hiccups need more of them to be known.
_SLOWDOWN_FRAMES = 16
_FEWEST_FRAMES = 48
# A clock that stood still is no speed to plan with.
_QUICKEST = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """How long a frame took, in milliseconds: as the profile expected, in truth, and all around the forward pass."""

    expected: float
    forward: float
    around: float

    @property
    def slowdown(self) -> float:
        """How many times longer than expected the forward pass took."""
        return max(_QUICKEST, self.forward / self.expected)


def slowdown(outcomes: Sequence[Outcome]) -> float:
    """How many times longer than expected forward passes take, by the recent ones."""
    slowdowns = [outcome.slowdown for outcome in outcomes[-_SLOWDOWN_FRAMES:]]
    return _quantile(slowdowns, 0.5, of=_SLOWDOWN_FRAMES, otherwise=1.0)


def quantile_along(outcomes: Sequence[Outcome], expected: float, quantile: float) -> float:
    """Milliseconds within which this share of the recent frames would have been answered along another branch.

    expected: what that branch should take. A hiccup met along a cheap branch would have come along a dear one too, and
    is added to its longer time; one met along a dear branch came of its length, and shrinks with it.
    """
    slower = slowdown(outcomes)
    times = [
        outcome.around
        + (
            outcome.forward * expected / outcome.expected
            if expected <= outcome.expected
            else outcome.forward + slower * (expected - outcome.expected)
        )
        for outcome in outcomes
    ]
    return _quantile(times, quantile, of=_FEWEST_FRAMES, otherwise=slower * expected)


def _quantile(values: Sequence[float], quantile: float, *, of: int, otherwise: float) -> float:
    """Of at least so many frames; those that have not been yet count `otherwise`, as a frame that takes what it should.

    So a first slow frame is one of many, and does not speak for all.
    """
    ordered = sorted([*values, *[otherwise] * (of - len(values))])
    return ordered[min(len(ordered) - 1, math.ceil(quantile * len(ordered)) - 1)]
