"""Schedules composed from answers: the outcome of each way of choosing branches at each budget."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.branch import REFERENCE, Branch
from adainf.evaluation.block_scheduler import NAME, Method, MethodOutcome, schedules
from adainf.evaluation.subject import Subject
from adainf.profile import Profile
from adainf.research.answers import Answers
from adainf.research.mixture import hull, mixture
from adainf.run import Run
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.block_scheduler import read_scheduler

__all__ = ["RAW", "better", "branches_of", "methods", "paper_methods"]

RAW = "lookup, raw weights"
"""The lookup table of a network without an adapter."""


def tables_of(profile: Profile) -> dict[str, Profile]:
    """Return the profiles whose lookup tables are compared: the profile's own, and those of single networks.

    Of a family, each network alone; of a network and the same with an adapter, each of the two.
    """
    if len(profile.networks) == 1:
        return {"table": profile}
    names = {key: f"lookup, {network.name} alone" for key, network in profile.of_key.items()}
    if profile.adapted is not None and len(profile.networks) == 2:
        names = {REFERENCE: RAW, profile.adapted: "lookup, adapted weights"}
    alone = {name: profile.with_only(key) for key, name in names.items()}
    return {"table": profile} | {name: limited for name, limited in alone.items() if limited.branches}


def branches_of(profile: Profile) -> tuple[Branch, ...]:
    """Return every branch of `profile`, and the branches of the lookup tables of each network alone."""
    every = [Branch.parse(measured.branch) for measured in profile.branches]
    for table in tables_of(profile).values():
        every += [choice.branch for choice in LookupTable(table).frontier]
    return tuple(dict.fromkeys(every))


def methods(profile: Profile, answers: Answers) -> Iterator[Method]:
    """Yield every method that needs no training of its own, `table` first.

    `upper envelope` and `oracle` use the answers to the evaluated pictures themselves: they are bounds, not methods.
    """
    measured = _Measured(profile, answers)
    lookups = {name: LookupTable(table) for name, table in tables_of(profile).items()}
    for name, table in lookups.items():
        yield Method(name, "hard", table.floor, _looked_up(table, measured))
    yield _envelope(lookups.values(), measured)
    yield _oracle(measured)
    yield _random(measured)
    yield _mixing(lookups["table"], measured)


class _Measured:
    """Answers of a profile's branches."""

    def __init__(self, profile: Profile, answers: Answers) -> None:
        self.answers = answers
        self.every_right = answers.right.astype(np.float64)
        self.fractions = np.array([profile.space.fraction(branch) for branch in answers.branches])
        columns = [answers.column(Branch.parse(measured.branch)) for measured in profile.branches]
        self.columns = np.array(sorted(columns, key=lambda column: self.fractions[column]))

    def right(self, choice: Choice) -> NDArray[np.float64]:
        return self.every_right[:, self.answers.column(choice.branch)]

    def feasible(self, budget: float) -> NDArray[np.intp]:
        """Return the columns of the branches within a budget, cheapest first; the cheapest alone if none fits."""
        within = int(np.searchsorted(self.fractions[self.columns], budget, side="right"))
        return self.columns[: max(1, within)]

    @property
    def floor(self) -> float:
        return float(self.fractions[self.columns[0]])


def _looked_up(table: LookupTable, measured: _Measured) -> Callable[[float], MethodOutcome]:
    def at(budget: float) -> MethodOutcome:
        choice = table.choose(max(budget, table.floor))
        return MethodOutcome(measured.right(choice), choice.macs_fraction, choice.macs_fraction)

    return at


def _envelope(tables: Iterable[LookupTable], measured: _Measured) -> Method:
    choices = sorted((choice for table in tables for choice in table.frontier), key=lambda choice: choice.macs)

    def at(budget: float) -> MethodOutcome:
        within = [choice for choice in choices if choice.macs_fraction <= budget] or choices[:1]
        best = max(within, key=lambda choice: (measured.right(choice).mean(), -choice.macs))
        return MethodOutcome(measured.right(best), best.macs_fraction, best.macs_fraction)

    return Method("upper envelope", "hard", choices[0].macs_fraction, at)


def _oracle(measured: _Measured) -> Method:
    def at(budget: float) -> MethodOutcome:
        columns = measured.feasible(budget)
        right = measured.every_right[:, columns]
        # argmax finds the cheapest branch that is right, or the cheapest of all if none is.
        fractions = measured.fractions[columns][right.argmax(axis=1)]
        return MethodOutcome(right.max(axis=1), float(fractions.mean()), float(fractions.max()))

    return Method("oracle", "hard", measured.floor, at)


def _random(measured: _Measured) -> Method:
    def at(budget: float) -> MethodOutcome:
        columns = measured.feasible(budget)
        fractions = measured.fractions[columns]
        return MethodOutcome(
            measured.every_right[:, columns].mean(axis=1), float(fractions.mean()), float(fractions.max())
        )

    return Method("random feasible branch", "hard", measured.floor, at)


def _mixing(table: LookupTable, measured: _Measured) -> Method:
    corners = hull(table.frontier)

    def at(budget: float) -> MethodOutcome:
        cheaper, dearer, share = mixture(corners, budget)
        right = (1 - share) * measured.right(cheaper) + share * measured.right(dearer)
        macs = (1 - share) * cheaper.macs_fraction + share * dearer.macs_fraction
        return MethodOutcome(right, macs, dearer.macs_fraction if share else cheaper.macs_fraction)

    return Method("table", "mean", table.floor, at)


def paper_methods(
    subject: Subject,
    run: Run,
    profile: Profile,
    table: Method,
    budgets: Sequence[float],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Method]:
    """Return the scheduler of `run` under its bounds and, with the hard bound, the better of it and `table`.

    Empty without a scheduler. The methods accept only `budgets`. truth: each picture's class index.
    """
    scheduler = read_scheduler(run, profile)
    if scheduler is None:
        return []
    methods_found = []
    for method in schedules(subject, scheduler, np.asarray(budgets, np.float64), truth, seed=seed):
        methods_found.append(method)
        if (method.name, method.bound) == (NAME, "hard"):  # a soft bound may exceed the budget that the table keeps
            methods_found.append(better("better of table and paper", table, method))
    return methods_found


def better(name: str, first: Method, second: Method) -> Method:
    """Return a method that uses, at each budget, the more accurate of two methods, as the paper does at run time.

    Each half of the pictures uses the method that is better on the other half, so that no picture influences its own
    choice. The first method is used on a tie, and below the second method's floor, where the second would exceed the
    budget.
    """

    def at(budget: float) -> MethodOutcome:
        first_outcome, second_outcome = first.at(budget), second.at(budget)
        if budget < second.floor:
            return first_outcome
        right = first_outcome.right.copy()
        chosen = []
        for half in (0, 1):
            chosen_by = slice(1 - half, None, 2)
            takes_second = second_outcome.right[chosen_by].mean() > first_outcome.right[chosen_by].mean()
            chosen.append(second_outcome if takes_second else first_outcome)
            right[half::2] = chosen[-1].right[half::2]
        macs = float(np.mean([outcome.macs for outcome in chosen]))
        return MethodOutcome(right, macs, max(outcome.macs_most for outcome in chosen))

    return Method(name, second.bound, first.floor, at)
