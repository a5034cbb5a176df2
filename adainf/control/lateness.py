"""Predict how long frames take on this box from how long recent frames took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Outcome", "quantile_along", "slowdown"]

# A few slow frames reveal a new neighbour on the processor; rare hiccups take more frames to estimate.
_SLOWDOWN_FRAMES = 16
_FEWEST_FRAMES = 48
# Floor for a measured slowdown: a clock that stood still must not promise infinite speed.
_QUICKEST = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """A frame's milliseconds: expected by the profile, measured in the forward pass, and spent around it."""

    expected: float
    forward: float
    around: float

    @property
    def slowdown(self) -> float:
        """The forward pass's time as a multiple of the expected time."""
        return max(_QUICKEST, self.forward / self.expected)


def slowdown(outcomes: Sequence[Outcome]) -> float:
    """Return the median slowdown of the recent forward passes; missing ones count as 1."""
    slowdowns = [outcome.slowdown for outcome in outcomes[-_SLOWDOWN_FRAMES:]]
    return _quantile(slowdowns, 0.5, of=_SLOWDOWN_FRAMES, otherwise=1.0)


def quantile_along(outcomes: Sequence[Outcome], expected: float, quantile: float) -> float:
    """Return the milliseconds within which this share of the recent frames would have been answered by another branch.

    expected: the other branch's expected milliseconds. A hiccup seen on a cheaper branch would have hit the dearer one
    too, so it is added to the longer time. One seen on a dearer branch came from its length, so it scales down.
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
    """Return a quantile of at least `of` values; missing ones count as `otherwise`, a frame that takes what it should.

    So the first slow frame is one of many and does not speak for all.
    """
    ordered = sorted([*values, *[otherwise] * (of - len(values))])
    rank = math.ceil(quantile * len(ordered)) - 1
    return ordered[min(len(ordered) - 1, max(0, rank))]
