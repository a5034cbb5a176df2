"""What an evaluation leaves: a row for each method and budget, and a summary at a few ceilings."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from adainf.evaluation.block_scheduler import Bound, Method
from adainf.profile import write_atomically
from adainf.research.answers import Answers
from adainf.research.bootstrap import interval

__all__ = ["CEILINGS", "Gain", "Row", "Share", "budgets_of", "gain_of", "rows_of", "shares_of", "write_rows"]

CEILINGS = (0.67, 0.5, 0.33, 0.25)


@dataclass(frozen=True, slots=True)
class Row:
    """A method at one budget. Budget, floor and MACs are fractions of the full branch's MACs, top1 of `images`.

    floor: the smallest budget that the method can keep; below it, it takes what it takes there.
    macs_fraction: the mean over the pictures. macs_fraction_max: the most that one of them took.
    """

    method: str
    bound: Bound
    budget: float
    floor: float
    macs_fraction: float
    macs_fraction_max: float
    top1: float
    images: int


def budgets_of(count: int) -> list[float]:
    """`count` budgets, evenly from 1/`count` to 1."""
    return [number / count for number in range(1, count + 1)]


def rows_of(methods: Sequence[Method], count: int, images: int) -> list[Row]:
    """A row for each method and each of `count` budgets, evenly from 1/`count` to 1."""
    rows = []
    for method in methods:
        for budget in budgets_of(count):
            found = method.at(budget)
            rows.append(
                Row(
                    method.name,
                    method.bound,
                    budget,
                    method.floor,
                    found.macs,
                    found.macs_most,
                    float(found.right.mean()),
                    images,
                )
            )
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write them as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        writer.writerow(round(value, 6) if isinstance(value, float) else value for value in astuple(row))
    write_atomically(path, text.getvalue())


@dataclass(frozen=True, slots=True)
class Share:
    """A method's top-1 at one budget relative to the full branch's, and how much it has before the first method's.

    low, high: paired bootstrap intervals of 95 %. lead: in top-1, over the lookup table on raw weights.
    """

    method: str
    bound: Bound
    budget: float
    macs_fraction: float
    top1: float
    share: float
    low: float
    high: float
    lead: tuple[float, float, float] | None


def shares_of(
    methods: Sequence[Method], answers: Answers, against: Method | None, budgets: Sequence[float] = CEILINGS
) -> list[Share]:
    """Each method at each budget, relative to the full branch, and in points of top-1 to the method `against`."""
    full = answers.right[:, 0].astype(np.float64)
    found = []
    for method in methods:
        for budget in budgets:
            here = method.at(budget)
            top1 = float(here.right.mean())
            share = top1 / max(float(full.mean()), 1e-9)
            low, high = interval(
                lambda means: means[:, 0] / np.maximum(means[:, 1], 1e-9), np.stack([here.right, full], axis=1)
            )
            lead = None
            if against is not None and method is not against:
                there = against.at(budget).right
                both = np.stack([here.right, there], axis=1)
                lead = (top1 - float(there.mean()), *interval(lambda means: means[:, 0] - means[:, 1], both))
            found.append(Share(method.name, method.bound, budget, here.macs, top1, share, low, high, lead))
    return found


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more top-1 a method gives than another at the same mean MACs; an interval of 95 % by paired bootstrap.

    Averaged over budgets from `low_budget` to `high_budget`.
    """

    method: str
    against: str
    gain: float
    low: float
    high: float


def gain_of(method: Method, against: Method, low_budget: float = 0.25, high_budget: float = 0.8) -> Gain:
    """`method` compared with `against`, which is given as much as `method` has taken at each budget."""
    here, there = [], []
    for budget in np.linspace(low_budget, high_budget, 23):
        found = method.at(float(budget))
        here.append(found.right)
        there.append(against.at(found.macs).right)
    both = np.stack([np.mean(here, axis=0), np.mean(there, axis=0)], axis=1)
    low, high = interval(lambda means: means[:, 0] - means[:, 1], both)
    return Gain(method.name, against.name, float(both[:, 0].mean() - both[:, 1].mean()), low, high)
