"""Accuracy of the paper's scheduler: each picture under each budget, along the blocks that the scheduler keeps."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.prefixes import scores_of_wanted
from adainf.branch import REFERENCE
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Subject
from adainf.profile import Profile, Scheduled
from adainf.run import Run
from adainf.schedulers import LookupTable
from adainf.schedulers.block_scheduler import PaperScheduler, read_scheduler
from adainf.training.recipes.block_scheduler import embedding

__all__ = ["NAME", "Bound", "Method", "MethodOutcome", "compared", "schedules"]

Bound = Literal["hard", "soft", "mean"]

NAME = "paper"
_LEVELS = 20
_Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class MethodOutcome:
    """The outcome of a method at one budget.

    right: each picture's probability of a correct answer (pictures,), 0 or 1 for a deterministic method.
    macs, macs_most: mean and maximum MACs over the pictures, fractions of the full branch's.
    """

    right: NDArray[np.float64]
    macs: float
    macs_most: float


@dataclass(frozen=True)
class Method:
    """A way of choosing branches.

    floor: the smallest budget it can keep; smaller ones are treated as the floor.
    """

    name: str
    bound: Bound
    floor: float
    at: Callable[[float], MethodOutcome]


def compared(subject: Subject, run: Run, profile: Profile) -> tuple[Scheduled, ...]:
    """Compare the run's scheduler with the lookup table of `profile`, on the same pictures; empty without a scheduler.

    The scheduler counts as better where its accuracy leads by more than a standard error; otherwise the simpler table
    wins. It is evaluated with the hard bound, whichever bound it was trained with.
    """
    scheduler = read_scheduler(run, profile)
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
        if (method.name, method.bound) == (NAME, "hard")
    )
    comparisons = []
    for budget in budgets:
        accuracy, by_table = float(hard.at(budget).right.mean()), table.choose(budget).expected_accuracy
        error = math.sqrt(accuracy * (1 - accuracy) / len(truth))
        comparisons.append(
            Scheduled(budget=budget, accuracy=round(accuracy, 6), table=by_table, better=accuracy > by_table + error)
        )
    return tuple(comparisons)


def schedules(
    subject: Subject,
    scheduler: PaperScheduler,
    budgets: NDArray[np.float64],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Method]:
    """Return the method `paper` under each of its bounds, and a control with shuffled embeddings.

    subject: the pictures, and the network as trained with the scheduler. truth: each picture's class index.
    A scheduler trained with the soft bound is evaluated with the hard one too. In the control the scheduler sees
    another picture's embedding, so it knows the budget but not the picture. The scheduler's own MACs are counted.
    """
    variants = [(NAME, scheduler, False), (f"{NAME}, content shuffled", scheduler, True)]
    if scheduler.bound == "soft":
        variants.append((NAME, replace(scheduler, bound="hard"), False))
    backbone = _as_trained(subject)
    embeddings = np.concatenate([embedding(hidden).float().cpu().numpy() for _, hidden in _after_first_block(subject)])
    shuffled_embeddings = embeddings[np.random.default_rng(seed).permutation(len(embeddings))]
    # (pictures, variants, budgets, blocks)
    keeps = np.stack(
        [
            _keeps(variant, shuffled_embeddings if shuffled else embeddings, budgets)
            for _, variant, shuffled in variants
        ],
        1,
    )
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
    """Return the method for evaluated keep bits.

    keeps: (pictures, budgets, blocks). right: (pictures, budgets).
    """
    projection = scheduler.projection
    macs = projection.macs(keeps[..., projection.droppable]) + scheduler.macs
    fractions = macs / scheduler.budgets_of
    column_of = {float(budget): column for column, budget in enumerate(budgets)}

    def at(budget: float) -> MethodOutcome:
        column = column_of[budget]
        spent = fractions[:, column]
        return MethodOutcome(right[:, column].astype(np.float64), float(spent.mean()), float(spent.max()))

    return Method(name, scheduler.bound, scheduler.floor, at)


def _keeps(scheduler: PaperScheduler, embeddings: NDArray[np.float32], budgets: NDArray[np.float64]) -> _Bits:
    """Return which blocks run (pictures, budgets, blocks)."""
    of_budgets = [scheduler.keeps(embeddings, np.full(len(embeddings), budget)) for budget in budgets]
    return np.stack(of_budgets, axis=1)


def _trained(subject: Subject) -> str:
    """Return what branches name the network that the scheduler was trained with."""
    return REFERENCE if subject.adapted is None else subject.adapted[0]


def _as_trained(subject: Subject) -> Backbone:
    return subject.networks[_trained(subject)]


def _after_first_block(subject: Subject) -> Iterator[tuple[slice, Tensor]]:
    backbone = _as_trained(subject)
    for rows, pictures in subject.batches():
        with torch.inference_mode():
            images = subject.prepare(pictures, backbone.native_resolution, _trained(subject))
            hidden = backbone.step(0, backbone.stem(images), True)
        yield rows, hidden


@torch.inference_mode()
def _top1(backbone: Backbone, hidden: Tensor, keeps: _Bits) -> NDArray[np.int64]:
    """Return each picture's class index along each of its block paths (pictures, paths).

    keeps: (pictures, paths, blocks). Each distinct path runs once per batch.
    """
    paths, inverse = np.unique(keeps.reshape(-1, keeps.shape[2]), axis=0, return_inverse=True)
    of_picture = inverse.reshape(keeps.shape[:2])
    rows_of_path = {
        tuple(path.tolist()): np.flatnonzero((of_picture == number).any(axis=1)) for number, path in enumerate(paths)
    }
    number_of = {keep: number for number, keep in enumerate(rows_of_path)}
    answers = np.zeros((len(keeps), len(paths)), np.int64)
    for keep, positions, scores in scores_of_wanted(backbone, hidden, 1, rows_of_path):
        answers[positions, number_of[keep]] = scores.argmax(dim=1).cpu().numpy()
    return np.take_along_axis(answers, of_picture, axis=1)
