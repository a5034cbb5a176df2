"""Policies: how signals become budgets, as data that an owner edits (TOML)."""

import bisect
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from adainf import shipped
from adainfd import tomlfile

__all__ = ["Budgets", "Curve", "CurveRule", "Policy"]

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Points = tuple[tuple[Share, Fraction], ...]


def _rising_inputs(points: Points) -> Points:
    if not points:
        raise ValueError("must have at least one [signal, budget] pair")
    signals = [signal for signal, _ in points]
    if any(left >= right for left, right in pairwise(signals)):
        raise ValueError("signals must rise from pair to pair")
    return points


def _falling(points: Points) -> Points:
    budgets = [budget for _, budget in points]
    if any(left < right for left, right in pairwise(budgets)):
        raise ValueError("budgets must not rise: more load never allows more")
    return points


def _rising(points: Points) -> Points:
    budgets = [budget for _, budget in points]
    if any(left > right for left, right in pairwise(budgets)):
        raise ValueError("budgets must not fall: more motion never deserves less")
    return points


Curve = Annotated[Points, AfterValidator(_rising_inputs)]


class Budgets(tomlfile.Section):
    """The range of budgets, and how fast they come back after a cut."""

    maximum: Fraction = 1.0
    minimum: Fraction = 0.2
    rise_per_second: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} must not be above maximum {self.maximum}")
        return self


class CurveRule(tomlfile.Section):
    """A signal's curve: [signal, budget] pairs, straight lines between them, level beyond the ends."""

    curve: Curve

    def at(self, signal: float) -> float:
        """The budget at `signal`."""
        right = bisect.bisect_right(self.curve, signal, key=lambda point: point[0])
        if right in (0, len(self.curve)):
            return self.curve[min(right, len(self.curve) - 1)][1]
        (x0, y0), (x1, y1) = self.curve[right - 1], self.curve[right]
        return y0 + (y1 - y0) * (signal - x0) / (x1 - x0)


class MotionRule(CurveRule):
    """Demand: the budget that a picture deserves, by the share of it that moved."""

    curve: Annotated[Curve, AfterValidator(_rising)] = ((0.0, 0.4), (0.03, 1.0))


class ContentionRule(CurveRule):
    """Ceiling: the budget that is left, by the share of the processor that other programs take."""

    curve: Annotated[Curve, AfterValidator(_falling)] = ((0.1, 1.0), (0.6, 0.3))


class Policy(tomlfile.Section):
    """How signals become budgets."""

    budget: Budgets = Budgets()
    motion: MotionRule = MotionRule()
    contention: ContentionRule = ContentionRule()

    @classmethod
    def read(cls, name: str) -> "Policy":
        """A shipped policy's name or a file's path; raises InvalidInputError on what is wrong in it."""
        return tomlfile.read(shipped.find("policies", name, ".toml"), "policy", cls)
