"""Policies: data (TOML), edited by the owner, that map signals to budgets."""

import bisect
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from adainf import shipped
from adainf.base import tomlfile

__all__ = [
    "AuditRule",
    "Budgets",
    "CeilingRule",
    "DeadlineRule",
    "DemandRule",
    "EvidenceRule",
    "Policy",
    "ReuseRule",
    "SecondLookRule",
    "ShareRule",
]

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0, le=200, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Points = tuple[tuple[Level, Share], ...]


def _rising_signals(points: Points) -> Points:
    if not points:
        raise ValueError("must have at least one [signal, budget] pair")
    if any(left >= right for (left, _), (right, _) in pairwise(points)):
        raise ValueError("signals must rise from pair to pair")
    return points


def _falling(points: Points) -> Points:
    if any(left < right for (_, left), (_, right) in pairwise(points)):
        raise ValueError("must not rise: more of the signal never allows more")
    return points


def _rising(points: Points) -> Points:
    if any(left > right for (_, left), (_, right) in pairwise(points)):
        raise ValueError("must not fall: more motion never deserves less")
    return points


def _above_nothing(points: Points) -> Points:
    if any(budget == 0 for _, budget in points):
        raise ValueError("budgets must be above 0")
    return points


Curve = Annotated[Points, AfterValidator(_rising_signals)]
Budget = AfterValidator(_above_nothing)


class Budgets(tomlfile.Section):
    """The range of budgets, their mean, and how a budget recovers after a cut.

    mean: the average budget of a frame. mean_slack: how far any number of frames may exceed it, in full frames.
    """

    maximum: Fraction = 1.0
    minimum: Fraction = 0.2
    mean: Fraction | None = None
    mean_slack: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 4.0
    hold_seconds: Seconds = 0.5
    rise_per_second: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} must not be above maximum {self.maximum}")
        if self.mean is not None and self.minimum > self.mean:
            raise ValueError(f"minimum {self.minimum} must not be above mean {self.mean}, which could not be kept")
        return self


class _CurveRule(tomlfile.Section):
    """A signal's curve: [signal, value] pairs, linear in between, constant beyond the ends."""

    curve: Curve

    def at(self, signal: float) -> float:
        """Return the value at `signal`."""
        right = bisect.bisect_right(self.curve, signal, key=lambda point: point[0])
        if right in (0, len(self.curve)):
            return self.curve[min(right, len(self.curve) - 1)][1]
        (x0, y0), (x1, y1) = self.curve[right - 1], self.curve[right]
        return y0 + (y1 - y0) * (signal - x0) / (x1 - x0)


class DemandRule(_CurveRule):
    """A picture's demand: the higher the signal, the larger the budget."""

    curve: Annotated[Curve, AfterValidator(_rising), Budget]


class CeilingRule(_CurveRule):
    """A limit set by the box: the higher the signal, the smaller the budget."""

    curve: Annotated[Curve, AfterValidator(_falling), Budget]


class DeadlineRule(tomlfile.Section):
    """The maximum age of an answer when it is published; only branches expected to meet it run."""

    milliseconds: Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)]
    quantile: Annotated[float, Field(ge=0.5, le=1)] = 0.9


class ShareRule(tomlfile.Section):
    """The share of the time for which all cameras under the policy together may keep the processor busy."""

    busy: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class ReuseRule(tomlfile.Section):
    """When the last answer is reused for a frame: little of the picture has changed, and for at most `seconds`.

    The limit on change is `change` plus `change_by_lead` times the margin of the answer's best label over the next
    (0..1).
    """

    change: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    change_by_lead: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class EvidenceRule(_CurveRule):
    """How much of the evidence from a camera's earlier frames still holds (0..1), by the share changed since.

    mirrored: every other look sees the picture mirrored.
    """

    curve: Annotated[Curve, AfterValidator(_falling)]
    mirrored: bool = False


class SecondLookRule(tomlfile.Section):
    """Still frames save compute for a better look at the picture; savings are capped at `savings`, in full frames."""

    savings: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


class AuditRule(tomlfile.Section):
    """The share of frames that also run the full branch while the box is idle."""

    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


_POLICY = "The rules that map signals to budgets. A rule that is left out does not apply."


class Policy(tomlfile.Section):
    """The rules that map signals to budgets. A rule that is left out does not apply.

    >>> policy = adainf.Policy.read("low-latency")          # a shipped one, or the path of a file
    >>> own = adainf.Policy.model_validate({"contention": {"curve": [[0.2, 1.0], [0.8, 0.4]]}})
    >>> own.contention.at(0.8)
    0.4
    """

    model_config = ConfigDict(json_schema_extra={"description": _POLICY})

    budget: Budgets = Budgets()
    motion: DemandRule | None = None
    contention: CeilingRule | None = None
    power: CeilingRule | None = None
    heat: CeilingRule | None = None
    deadline: DeadlineRule | None = None
    share: ShareRule | None = None
    evidence: EvidenceRule | None = None
    reuse: ReuseRule | None = None
    second_look: SecondLookRule | None = None
    audit: AuditRule = AuditRule()

    @classmethod
    def read(cls, name: str) -> "Policy":
        """Read a shipped policy by name, or a file by path; raises InvalidInputError if it is invalid."""
        return tomlfile.read(shipped.find("policies", name, ".toml"), "policy", cls)

    def part(self, part: float) -> "Policy":
        """Return the policy with its `[share]` scaled to `part` (0..1), for one of several streams that divide it."""
        if self.share is None or part == 1:
            return self
        return self.model_copy(update={"share": self.share.model_copy(update={"busy": self.share.busy * part})})
