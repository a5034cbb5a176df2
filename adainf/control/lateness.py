"""Predict how long frames take on this box from how long recent frames took."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Forecast", "Outcome", "along", "slowdown", "telling", "too_often_late"]

# A few slow frames reveal a new neighbour on the processor.
_SLOWDOWN_FRAMES = 16
# Floor for a measured slowdown: a clock that stood still must not promise infinite speed.
_QUICKEST = 0.01
# Delays are skewed: the slowest 2 % of frames lie 1.1 to 1.4 times as far from the mean as a normal distribution's.
_SKEW = 1.2
_STEEPEST = 0.999
# Each pass also waits for its threads to wake, however short it is. One branch alone cannot tell that from slow work,
# so as many passes of length 0 that took no time are assumed: two branches tell it apart, one counts as slow work.
_NOTHING_AT_ZERO = 4
# A branch is given up when it is 30 times as likely that its odds of being late are four times the tolerated ones as
# that they are the tolerated ones: after three late frames in a row, or a few more among many that were in time.
_ODDS = 4.0
_CERTAINTY = 30.0
_ROUNDING = 1.001


@dataclass(frozen=True, slots=True)
class Outcome:
    """A frame's milliseconds: expected by the profile, measured in the forward pass, and spent around it."""

    expected: float
    forward: float
    around: float

    @property
    def total(self) -> float:
        """The milliseconds from capture to publishing."""
        return self.forward + self.around

    def total_along(self, expected: float, slowdown: float) -> float:
        """Return the total along a branch of `expected` milliseconds, where passes take `slowdown` times as long.

        This frame's deviation from that scales with the square root of the length, as in `Forecast`.
        """
        deviation = self.forward - slowdown * self.expected
        return self.around + slowdown * expected + deviation * math.sqrt(expected / self.expected)

    @property
    def slowdown(self) -> float:
        """The forward pass's time as a multiple of the expected time."""
        return max(_QUICKEST, self.forward / self.expected)


def slowdown(outcomes: Sequence[Outcome]) -> float:
    """Return the median slowdown of the recent forward passes; missing ones count as 1.

    So the first slow frame is one of many and does not speak for all.
    """
    recent = [outcome.slowdown for outcome in outcomes[-_SLOWDOWN_FRAMES:]]
    return statistics.median_low([*recent, *[1.0] * (_SLOWDOWN_FRAMES - len(recent))])


@dataclass(frozen=True, slots=True)
class Forecast:
    """The time of a frame along any branch, learned from recent frames along other ones.

    Other programs interrupt a forward pass at random, so the mean and the variance of its time both grow with its
    length, the mean from what every pass waits however short it is. around, around_variance: of the milliseconds
    outside the forward pass, that wait included. slowdown, variance: of the forward pass, per expected millisecond.
    """

    around: float = 0.0
    around_variance: float = 0.0
    slowdown: float = 1.0
    variance: float = 0.0

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], most: float) -> "Forecast":
        """Learn from the outcomes; without any, frames take what the profile says.

        most: milliseconds, such as the deadline: a hiccup counts as no longer than this.
        """
        if not outcomes:
            return cls()
        typical = statistics.median_low(outcome.slowdown for outcome in outcomes)
        forward = [min(outcome.forward, typical * outcome.expected + most) for outcome in outcomes]
        around = [min(outcome.around, most) for outcome in outcomes]
        lengths = [outcome.expected for outcome in outcomes]
        waking, slower = _line(lengths, forward)
        usual = math.fsum(around) / len(around)
        apart = [took - waking - slower * length for took, length in zip(forward, lengths, strict=True)]
        return cls(
            around=usual + waking,
            around_variance=math.fsum((took - usual) ** 2 for took in around) / len(around),
            slowdown=slower,
            variance=math.fsum(ms * ms for ms in apart) / math.fsum(lengths),
        )

    def within(self, expected: float, quantile: float) -> float:
        """Return the milliseconds within which this share of the frames along a branch is answered.

        expected: the branch's milliseconds according to the profile.
        """
        deviations = _SKEW * statistics.NormalDist().inv_cdf(min(quantile, _STEEPEST))
        variance = self.around_variance + self.variance * expected
        return self.around + self.slowdown * expected + deviations * math.sqrt(variance)


def _line(lengths: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Return the least squares' line of forward passes: milliseconds at length 0, and per millisecond of length."""
    count, length, time = len(lengths) + _NOTHING_AT_ZERO, math.fsum(lengths), math.fsum(times)
    squares = math.fsum(each * each for each in lengths)
    products = math.fsum(each * took for each, took in zip(lengths, times, strict=True))
    slope = max(_QUICKEST, (count * products - length * time) / (count * squares - length * length))
    start = (time - slope * length) / count
    return (start, slope) if start > 0 else (0.0, max(_QUICKEST, time / length))


def telling(outcomes: Sequence[Outcome], least: float, deadline: float) -> Sequence[Outcome]:
    """Return the outcomes without those that would have been late along any branch, unless most would.

    least: the cheapest branch's milliseconds.
    """
    if all(outcome.total <= deadline for outcome in outcomes):
        return outcomes
    typical = statistics.median_low(outcome.slowdown for outcome in outcomes)
    kept = [outcome for outcome in outcomes if outcome.total_along(least, typical) <= deadline]
    return kept if 2 * len(kept) > len(outcomes) else outcomes


def along(outcomes: Sequence[Outcome], expected: float) -> list[Outcome]:
    """Return the outcomes of frames along a branch of `expected` milliseconds, or a dearer one."""
    return [outcome for outcome in outcomes if outcome.expected >= expected / _ROUNDING]


def too_often_late(outcomes: Sequence[Outcome], expected: float, deadline: float, misses: float) -> bool:
    """Return whether a branch has missed the deadline more often than tolerated, beyond chance.

    expected: the branch's milliseconds. misses: the tolerated share of late frames. A frame in time along a dearer
    branch would have been in time here, one that was late along a cheaper branch late here; others say nothing.

    The test is Page's cumulative sum of log likelihood ratios ("Continuous inspection schemes", Biometrika, 1954).
    """
    in_time, late = -math.log1p((_ODDS - 1) * misses), math.log(_ODDS)
    score, enough = 0.0, math.log(_CERTAINTY)
    for outcome in outcomes:
        if outcome.forward + outcome.around > deadline:
            if outcome.expected <= expected * _ROUNDING:
                score = max(0.0, score + late + in_time)
                if score >= enough:
                    return True
        elif score and outcome.expected >= expected / _ROUNDING:
            score = max(0.0, score + in_time)
    return False
