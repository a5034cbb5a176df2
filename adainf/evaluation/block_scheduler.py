"""How good the paper's scheduler is: every picture under every budget, along the blocks the scheduler keeps for it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.prefixes import scores_of_wanted
from adainf.branch import BranchSpace
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Subject
from adainf.profile import Profile, Scheduled
from adainf.research.methods import Method, Outcome
from adainf.run import Run
from adainf.schedulers import LookupTable
from adainf.schedulers.block_scheduler import PaperScheduler, read_scheduler
from adainf.training.recipes.block_scheduler import embedding

__all__ = ["better", "compared", "paper_methods", "schedules"]

_NAME = "paper"
_LEVELS = 20
_Bits = NDArray[np.bool_]


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
        if (method.name, method.bound) == (_NAME, "hard"):  # what exceeds its budget is no match for what keeps it
            found.append(better("better of table and paper", table, method))
    return found


def better(name: str, first: Method, second: Method) -> Method:
    """Of two methods, at each budget, the one that is more often right: at run time the paper takes the better one.

    Every second picture's method is chosen by the other half of the pictures, so that none has a say in its own. Of
    equals the first is taken; so it is below the second one's floor, where that would exceed the budget.
    """

    def at(budget: float) -> Outcome:
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
        return Outcome(right, macs, max(outcome.macs_most for outcome in taken))

    return Method(name, second.bound, first.floor, at)


def compared(subject: Subject, run: Run, profile: Profile) -> tuple[Scheduled, ...]:
    """The run's scheduler against the lookup table of `profile`, on pictures that both were measured on; none without.

    It is better where it is right more often by a standard error: of two that are alike the table is simpler. It keeps
    its budgets here, whatever it was trained with.
    """
    scheduler = read_scheduler(run, profile.space)
    if scheduler is None:
        return ()
    truth = subject.labels
    if truth is None:
        full = subject.full
        truth = np.concatenate([subject.top1(pictures, [full])[full] for _, pictures in subject.batches()])
    table = LookupTable(profile)
    least = max(table.floor, scheduler.floor)
    budgets = [budget for step in range(_LEVELS + 1) if (budget := round(step / _LEVELS, 4)) >= least]
    hard = next(
        method
        for method in schedules(subject, scheduler, np.array(budgets), truth)
        if (method.name, method.bound) == (_NAME, "hard")
    )
    found = []
    for budget in budgets:
        accuracy, by_table = float(hard.at(budget).right.mean()), table.choose(budget).expected_accuracy
        error = math.sqrt(accuracy * (1 - accuracy) / len(truth))
        found.append(
            Scheduled(budget=budget, accuracy=round(accuracy, 6), table=by_table, better=accuracy > by_table + error)
        )
    return tuple(found)


def schedules(
    subject: Subject,
    scheduler: PaperScheduler,
    budgets: NDArray[np.float64],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Method]:
    """`paper` under each of its bounds, and with the embeddings of other pictures in place of their own.

    subject: the pictures, and the network as it was trained with the scheduler. truth: each picture's class index.
    A scheduler that was trained with a soft bound is evaluated with the hard one, too. With shuffled content a
    scheduler knows the budget and nothing of the picture. Its own MACs are counted.
    """
    variants = [(_NAME, scheduler, False), (f"{_NAME}, content shuffled", scheduler, True)]
    if scheduler.bound == "soft":
        variants.append((_NAME, replace(scheduler, bound="hard"), False))
    backbone = _as_trained(subject)
    seen = np.concatenate([embedding(hidden).float().cpu().numpy() for _, hidden in _after_first_block(subject)])
    others = seen[np.random.default_rng(seed).permutation(len(seen))]
    # (pictures, variants, budgets, blocks)
    keeps = np.stack([_keeps(variant, others if shuffled else seen, budgets) for _, variant, shuffled in variants], 1)
    right = np.empty(keeps.shape[:3], bool)
    with progress("paper's scheduler, images", len(subject.paths)) as advance:
        for rows, hidden in _after_first_block(subject):
            answers = _top1(backbone, hidden, keeps[rows].reshape(len(hidden), -1, keeps.shape[3]))
            right[rows] = answers.reshape(right[rows].shape) == truth[rows, None, None]
            advance(len(hidden))
    return [
        _method(name, variant, budgets, keeps[:, number], right[:, number])
        for number, (name, variant, _) in enumerate(variants)
    ]


def _method(name: str, scheduler: PaperScheduler, budgets: NDArray[np.float64], keeps: _Bits, right: _Bits) -> Method:
    """keeps: (pictures, budgets, blocks). right: (pictures, budgets)."""
    projection = scheduler.projection
    macs = projection.macs(keeps[..., projection.droppable]) + scheduler.macs
    fractions = macs / scheduler.space.macs(scheduler.space.full)
    column_of = {float(budget): column for column, budget in enumerate(budgets)}

    def at(budget: float) -> Outcome:
        column = column_of[budget]
        spent = fractions[:, column]
        return Outcome(right[:, column].astype(np.float64), float(spent.mean()), float(spent.max()))

    return Method(name, scheduler.bound, scheduler.floor, at)


def _keeps(scheduler: PaperScheduler, embeddings: NDArray[np.float32], budgets: NDArray[np.float64]) -> _Bits:
    """Which blocks run (pictures, budgets, blocks)."""
    each = [scheduler.keeps(embeddings, np.full(len(embeddings), budget)) for budget in budgets]
    return np.stack(each, axis=1)


def _as_trained(subject: Subject) -> Backbone:
    return subject.backbone("base" if subject.adapted is None else "adapted")


def _after_first_block(subject: Subject) -> Iterator[tuple[slice, Tensor]]:
    backbone = _as_trained(subject)
    for rows, pictures in subject.batches():
        with torch.inference_mode():
            images = subject.prepare(pictures, backbone.native_resolution)
            hidden = backbone.step(0, backbone.stem(images), True)
        yield rows, hidden


@torch.inference_mode()
def _top1(backbone: Backbone, hidden: Tensor, keeps: _Bits) -> NDArray[np.int64]:
    """The class index of each picture along each of its ways (pictures, ways); keeps: (pictures, ways, blocks)."""
    ways, inverse = np.unique(keeps.reshape(-1, keeps.shape[2]), axis=0, return_inverse=True)
    of_picture = inverse.reshape(keeps.shape[:2])
    wanted = {
        tuple(way.tolist()): np.flatnonzero((of_picture == number).any(axis=1)) for number, way in enumerate(ways)
    }
    number_of = {keep: number for number, keep in enumerate(wanted)}
    answers = np.zeros((len(keeps), len(ways)), np.int64)
    for keep, positions, scores in scores_of_wanted(backbone, hidden, 1, wanted):
        answers[positions, number_of[keep]] = scores.argmax(dim=1).cpu().numpy()
    return np.take_along_axis(answers, of_picture, axis=1)
