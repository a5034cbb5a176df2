"""How good taught classes are at each level of MACs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch, FamilySpace

__all__ = ["Level", "level", "probabilities", "useful", "wilson", "within_a_point"]

_POINT = 0.01
_NORMAL_95 = 1.959964
# In nats, a third of what a point of accuracy is worth: less is luck on a few dozen pictures.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """What a branch is worth for a question.

    low, high: 95 % interval of the accuracy (Wilson). balanced: the mean of the classes' recalls. loss: mean
    cross-entropy, nats. confusion: rows of counts, a row a true class (the last one only if some pictures are unknown),
    a column an answer, in the order of the names.
    """

    branch: Branch
    macs: int
    macs_fraction: float
    accuracy: float
    low: float
    high: float
    balanced: float
    loss: float
    confusion: tuple[tuple[int, ...], ...]


def level(space: FamilySpace, branch: Branch, scores: NDArray[np.float32], truth: NDArray[np.int64]) -> Level:
    """Return what a branch is worth by its scores (pictures, labels + 1) and the pictures' classes.

    A picture that is none of the classes has the last one, unknown.
    """
    names = scores.shape[1]
    confusion = np.zeros((names, names), np.int64)
    np.add.at(confusion, (truth, scores.argmax(axis=1)), 1)
    of_class = confusion.sum(axis=1)
    recalls = np.diag(confusion)[of_class > 0] / of_class[of_class > 0]
    right = int(np.trace(confusion))
    low, high = wilson(right, len(truth))
    of_truth = probabilities(scores)[np.arange(len(truth)), truth]
    return Level(
        branch,
        space.macs(branch),
        space.fraction(branch),
        right / len(truth),
        low,
        high,
        float(recalls.mean()),
        float(-np.log(of_truth.clip(1e-12)).mean()),
        tuple(tuple(map(int, row)) for row in confusion[: names if of_class[-1] else names - 1]),
    )


def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the softmax of scores (pictures, classes)."""
    exponents = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by E. B. Wilson (1927), which holds near 0 and 1 too."""
    share, square = right / count, _NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))  # at 0 and 1 up to rounding


def within_a_point(levels: Iterable[Level]) -> list[Level]:
    """Return the levels whose accuracy is within a point of the best, the cheapest first."""
    by_macs = sorted(levels, key=lambda of: of.macs)
    best = max(of.accuracy for of in by_macs)
    return [of for of in by_macs if of.accuracy >= best - _POINT]


def useful(levels: Mapping[Branch, Level], full: Branch) -> list[Branch]:
    """Return the branches that are worth their MACs, the full one first: each betters the loss of all cheaper ones."""
    kept, least = [], math.inf
    for of in sorted(levels.values(), key=lambda of: (of.macs, of.loss)):
        if of.loss < least - _WORTH:
            kept.append(of.branch)
            least = of.loss
    return [full, *(branch for branch in kept if branch != full)]
