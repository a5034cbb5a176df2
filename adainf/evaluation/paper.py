"""How good the paper's scheduler is: every picture under every budget, along the blocks the scheduler keeps for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.prefixes import scores_of_wanted
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Subject
from adainf.schedulers.paper import PaperScheduler
from adainf.training.paper import embedding

__all__ = ["Outcomes", "Row", "better", "evaluate", "rows"]


_NAME = "paper"
_Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Row:
    """A method at a budget; fractions are of the full branch's MACs, the scheduler's own included.

    floor: the smallest budget that the method can keep. macs_fraction: the mean over the pictures; _max: the most of
    any picture. top1: the share of right answers.
    """

    method: str
    bound: str
    budget: float
    floor: float
    macs_fraction: float
    macs_fraction_max: float
    top1: float
    images: int


@dataclass(frozen=True)
class Outcomes:
    """What came of each picture under each budget, (pictures, budgets): its MACs, and whether its answer is right.

    fractions: MACs relative to the full branch's.
    """

    method: str
    bound: str
    budgets: NDArray[np.float64]
    floor: float
    fractions: NDArray[np.float64]
    right: NDArray[np.bool_]


def rows(outcomes: Outcomes) -> list[Row]:
    """A row for each budget."""
    return [
        Row(
            outcomes.method,
            outcomes.bound,
            float(budget),
            outcomes.floor,
            float(outcomes.fractions[:, column].mean()),
            float(outcomes.fractions[:, column].max()),
            float(outcomes.right[:, column].mean()),
            len(outcomes.right),
        )
        for column, budget in enumerate(outcomes.budgets)
    ]


def better(method: str, first: Outcomes, second: Outcomes) -> Outcomes:
    """Of two methods, for each budget, the one that is more often right: at run time the paper takes the better one.

    Both are of the same pictures and budgets. For every second picture the choice is made by the other half, so that
    no picture has a say in its own. At equal accuracy the first is taken.
    """
    takes_second = np.empty(first.right.shape, bool)
    for half in (0, 1):
        gain = second.right[1 - half :: 2].sum(axis=0) - first.right[1 - half :: 2].sum(axis=0, dtype=np.int64)
        # Below its floor a method exceeds the budget, which must not be its advantage.
        takes_second[half::2] = ((gain > 0) & (first.budgets >= second.floor)) | (first.budgets < first.floor)
    return replace(
        first,
        method=method,
        floor=min(first.floor, second.floor),
        fractions=np.where(takes_second, second.fractions, first.fractions),
        right=np.where(takes_second, second.right, first.right),
    )


def evaluate(
    subject: Subject,
    scheduler: PaperScheduler,
    budgets: NDArray[np.float64],
    truth: NDArray[np.int64],
    *,
    seed: int = 0,
) -> list[Outcomes]:
    """`paper` under each of its bounds, and with the embeddings of other pictures in place of their own.

    subject: the pictures, and the network as it was trained with the scheduler. truth: each picture's class index.
    A scheduler that was trained with a soft bound is evaluated with the hard one, too. With shuffled content a
    scheduler knows the budget and nothing of the picture.
    """
    variants = [(_NAME, scheduler, False), (f"{_NAME}, content shuffled", scheduler, True)]
    if scheduler.bound == "soft":
        variants.append((_NAME, replace(scheduler, bound="hard"), False))
    seen = _embeddings(subject)
    others = seen[np.random.default_rng(seed).permutation(len(seen))]
    # (pictures, variants, budgets, blocks)
    keeps = np.stack([_keeps(variant, others if shuffled else seen, budgets) for _, variant, shuffled in variants], 1)
    right = np.empty(keeps.shape[:3], bool)
    with progress("paper's scheduler, images", len(subject.paths)) as advance:
        for rows, hidden in _after_first_block(subject):
            answers = _top1(subject.engine.backbone, hidden, keeps[rows].reshape(len(hidden), -1, keeps.shape[3]))
            right[rows] = answers.reshape(right[rows].shape) == truth[rows, None, None]
            advance(len(hidden))
    full = scheduler.space.macs(scheduler.space.full)
    outcomes = []
    for number, (method, variant, _) in enumerate(variants):
        bits = keeps[:, number][..., variant.projection.droppable]
        macs = variant.projection.macs(bits) + variant.macs
        outcomes.append(Outcomes(method, variant.bound, budgets, variant.floor, macs / full, right[:, number]))
    return outcomes


def _keeps(scheduler: PaperScheduler, embeddings: NDArray[np.float32], budgets: NDArray[np.float64]) -> _Bits:
    """Which blocks run (pictures, budgets, blocks)."""
    each = [scheduler.keeps(embeddings, np.full(len(embeddings), budget)) for budget in budgets]
    return np.stack(each, axis=1)


def _embeddings(subject: Subject) -> NDArray[np.float32]:
    return np.concatenate([embedding(hidden).float().cpu().numpy() for _, hidden in _after_first_block(subject)])


def _after_first_block(subject: Subject) -> Iterator[tuple[slice, Tensor]]:
    backbone = subject.engine.backbone
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
