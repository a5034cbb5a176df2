"""Schedules composed from answers: what each way of choosing branches gives at each budget."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.branch import BranchSpace
from adainf.evaluation.block_scheduler import NAME, Method, MethodOutcome, schedules
from adainf.evaluation.subject import Candidate, Subject
from adainf.profile import Profile
from adainf.research.answers import Answers
from adainf.research.mixture import hull, mixture
from adainf.run import Run
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.block_scheduler import read_scheduler

__all__ = ["better", "candidates_of", "methods", "paper_methods"]


def tables_of(profile: Profile) -> dict[str, Profile]:
    """The profiles whose lookup tables are compared: with the better set for each branch, and with each set alone."""
    if profile.adapter is None:
        return {"table": profile}
    return {"table": profile, "lookup, raw weights": profile.with_only("base"),
            "lookup, adapted weights": profile.with_only("adapted")}  # fmt: skip


def candidates_of(profile: Profile) -> tuple[Candidate, ...]:
    """Every branch of `profile` as it runs, and what the lookup tables of each set alone take."""
    every = [Candidate.of(measured) for measured in profile.branches]
    for table in tables_of(profile).values():
        every += [_candidate(choice) for choice in LookupTable(table).frontier]
    return tuple(dict.fromkeys(every))


def _candidate(choice: Choice) -> Candidate:
    return Candidate(choice.branch, choice.weights)


def methods(profile: Profile, answers: Answers) -> Iterator[Method]:
    """Every method that needs no training of its own, `table` first.

    `upper envelope` and `oracle` know the answers to the very pictures: bounds, not methods.
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
    """The answers of a profile's branches, each with its set of weights."""

    def __init__(self, profile: Profile, answers: Answers) -> None:
        full = profile.space.macs(profile.space.full)
        self.answers = answers
        self.every_right = answers.right.astype(np.float64)
        self.fractions = np.array([profile.space.macs(way.branch) / full for way in answers.candidates])
        ours = [answers.column(Candidate.of(measured)) for measured in profile.branches]
        self.columns = np.array(sorted(ours, key=lambda column: self.fractions[column]))

    def right(self, choice: Choice) -> NDArray[np.float64]:
        return self.every_right[:, self.answers.column(_candidate(choice))]

    def feasible(self, budget: float) -> NDArray[np.intp]:
        """The columns of the branches within a budget, cheapest first; where none is, the cheapest."""
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
        # The cheapest that is right; where none is, the cheapest.
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
    space: BranchSpace,
    table: Method,
    budgets: Sequence[float],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Method]:
    """The scheduler of `run` under its bounds, and with the hard one the better of it and `table`; none without one.

    They can be asked at `budgets` alone. truth: each picture's class index.
    """
    scheduler = read_scheduler(run, space)
    if scheduler is None:
        return []
    found = []
    for method in schedules(subject, scheduler, np.asarray(budgets, np.float64), truth, seed=seed):
        found.append(method)
        if (method.name, method.bound) == (NAME, "hard"):  # what exceeds its budget is no match for what keeps it
            found.append(better("better of table and paper", table, method))
    return found


def better(name: str, first: Method, second: Method) -> Method:
    """Of two methods, at each budget, the one that is more often right: at run time the paper takes the better one.

    Every second picture's method is chosen by the other half of the pictures, so that none has a say in its own. Of
    equals the first is taken; so it is below the second one's floor, where that would exceed the budget.
    """

    def at(budget: float) -> MethodOutcome:
        one, other = first.at(budget), second.at(budget)
        if budget < second.floor:
            return one
        right = one.right.copy()
        taken = []
        for half in (0, 1):
            chosen_by = slice(1 - half, None, 2)
            takes_other = other.right[chosen_by].mean() > one.right[chosen_by].mean()
            taken.append(other if takes_other else one)
            right[half::2] = taken[-1].right[half::2]
        macs = float(np.mean([outcome.macs for outcome in taken]))
        return MethodOutcome(right, macs, max(outcome.macs_most for outcome in taken))

    return Method(name, second.bound, first.floor, at)
