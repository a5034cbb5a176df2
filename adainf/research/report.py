"""Results of an evaluation: a row per method and budget, and a summary at a few ceilings."""

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
    """A method at one budget.

    Budget, floor and MACs are fractions of the full branch's MACs, `top1` of `images`. floor: the smallest budget that
    the method can keep; smaller ones are treated as the floor. macs_fraction, macs_fraction_max: mean and maximum over
    the pictures.
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
    """Return `count` evenly spaced budgets from 1/`count` to 1."""
    return [number / count for number in range(1, count + 1)]


def rows_of(methods: Sequence[Method], count: int, images: int) -> list[Row]:
    """Return a row per method and budget, with `count` evenly spaced budgets from 1/`count` to 1."""
    rows = []
    for method in methods:
        for budget in budgets_of(count):
            outcome = method.at(budget)
            rows.append(
                Row(
                    method.name,
                    method.bound,
                    budget,
                    method.floor,
                    outcome.macs,
                    outcome.macs_most,
                    float(outcome.right.mean()),
                    images,
                )
            )
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as CSV, floats rounded to 6 digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        writer.writerow(round(value, 6) if isinstance(value, float) else value for value in astuple(row))
    write_atomically(path, text.getvalue())


@dataclass(frozen=True, slots=True)
class Share:
    """A method's top-1 at one budget, relative to the full branch's, and its lead over a reference method.

    share: top-1 divided by the full branch's. low, high: its 95 % interval, by paired bootstrap. lead: the difference
    in top-1 to the lookup table on raw weights, with its 95 % interval; None without that table, and for the table.
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
    """Return each method at each budget, relative to the full branch, with its lead in top-1 over `against`."""
    full = answers.right[:, 0].astype(np.float64)
    shares = []
    for method in methods:
        for budget in budgets:
            outcome = method.at(budget)
            top1 = float(outcome.right.mean())
            share = top1 / max(float(full.mean()), 1e-9)
            low, high = interval(
                lambda means: means[:, 0] / np.maximum(means[:, 1], 1e-9), np.stack([outcome.right, full], axis=1)
            )
            lead = None
            if against is not None and method is not against:
                right_against = against.at(budget).right
                paired = np.stack([outcome.right, right_against], axis=1)
                lead = (top1 - float(right_against.mean()), *interval(lambda means: means[:, 0] - means[:, 1], paired))
            shares.append(Share(method.name, method.bound, budget, outcome.macs, top1, share, low, high, lead))
    return shares


@dataclass(frozen=True, slots=True)
class Gain:
    """A method's gain in top-1 over another at the same mean MACs, with its 95 % interval by paired bootstrap.

    Averaged over a range of budgets.
    """

    method: str
    against: str
    gain: float
    low: float
    high: float


def gain_of(method: Method, against: Method, low_budget: float = 0.25, high_budget: float = 0.8) -> Gain:
    """Compare `method` with `against`, whose budget is the mean MACs that `method` took at each budget.

    Averages over 23 budgets from `low_budget` to `high_budget`.
    """
    right, right_against = [], []
    for budget in np.linspace(low_budget, high_budget, 23):
        outcome = method.at(float(budget))
        right.append(outcome.right)
        right_against.append(against.at(outcome.macs).right)
    paired = np.stack([np.mean(right, axis=0), np.mean(right_against, axis=0)], axis=1)
    low, high = interval(lambda means: means[:, 0] - means[:, 1], paired)
    return Gain(method.name, against.name, float(paired[:, 0].mean() - paired[:, 1].mean()), low, high)
