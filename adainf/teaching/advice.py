"""Advice on taught pictures: which hurt, which are there twice, and which classes want more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.teaching.crossvalidation import HeldOut
from adainf.teaching.levels import probabilities

__all__ = ["Doubt", "Twins", "Wish", "doubts", "mean_probabilities", "twins", "wishes"]

_CONFIDENT = 0.7
_MOST_SHOWN = 12
# Of 255 levels in a thumbnail: the noise of a camera and of compression stays below it.
_SAME_LEVELS = 6
_ENOUGH = 0.98
_MOST_TIMES = 8.0
# Errors fall with the number of pictures to a power. What seems slower does not fall; what seems faster is luck.
_SLOWEST, _FASTEST = 0.15, 1.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """A picture that looks like another class when it is held out. score: the other class's probability."""

    row: int
    answer: int
    score: float


@dataclass(frozen=True, slots=True)
class Twins:
    """Two pictures that look the same but have different labels."""

    row: int
    other: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What more pictures of a class would bring.

    recall: with all pictures. half: with half of them. more: about how many are wanted; None if half of the pictures
    teach as much as all, so that more of the same kind help little.
    """

    label: int
    recall: float
    half: float
    more: int | None


def doubts(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> list[Doubt]:
    """Return the pictures that are confidently another class when they are held out, the most confident first.

    shares: `mean_probabilities`.
    """
    answers = shares[:, :-1].argmax(axis=1)
    found = [
        Doubt(row, int(answer), float(shares[row, answer]))
        for row, answer in enumerate(answers)
        if answer != labels[row] and shares[row, answer] >= _CONFIDENT
    ]
    return sorted(found, key=lambda doubt: -doubt.score)[:_MOST_SHOWN]


def twins(thumbnails: NDArray[np.uint8], labels: NDArray[np.int64]) -> list[Twins]:
    """Return pairs of pictures with different labels whose thumbnails (pictures, side, side, 3) are nearly the same."""
    levels = thumbnails.reshape(len(thumbnails), -1).astype(np.int16)
    found: list[Twins] = []
    for row in range(len(levels)):
        others = np.flatnonzero(labels[row + 1 :] != labels[row]) + row + 1
        apart = np.abs(levels[others] - levels[row]).max(axis=1, initial=0)
        found += [Twins(row, int(other)) for other in others[apart <= _SAME_LEVELS]]
    return found[:_MOST_SHOWN]


def wishes(held: HeldOut, by_half: HeldOut, branches: Sequence[Branch], labels: NDArray[np.int64]) -> list[Wish]:
    """Return the classes that want more pictures, by what half of the pictures cost, on average over the branches.

    The errors are taken to fall as a power of the number of pictures; the wish would halve them, or bring the recall to
    98 %.
    """
    of_all, of_half = (_mean_right(part, branches, labels) for part in (held, by_half))
    found = []
    for label in range(int(labels.max()) + 1):
        rows = labels == label
        recall, half, count = float(of_all[rows].mean()), float(of_half[rows].mean()), int(rows.sum())
        if recall >= _ENOUGH:
            continue
        # Half an error more on both sides keeps the ratio finite.
        errors, errors_by_half = 1 - recall + 0.5 / count, 1 - half + 0.5 / count
        power = min(math.log2(errors_by_half / errors), _FASTEST)
        if power < _SLOWEST:
            found.append(Wish(label, recall, half, None))
            continue
        target = max(1 - _ENOUGH, (1 - recall) / 2)
        times = min(((1 - recall) / target) ** (1 / power), _MOST_TIMES)
        found.append(Wish(label, recall, half, math.ceil(count * (times - 1))))
    return sorted(found, key=lambda wish: wish.recall)


def mean_probabilities(held: HeldOut, branches: Sequence[Branch]) -> NDArray[np.float64]:
    """Return each picture's probabilities (pictures, labels + 1), means over the branches."""
    mean: NDArray[np.float64] = np.mean([probabilities(held.scores(branch)) for branch in branches], axis=0)
    return mean


def _mean_right(held: HeldOut, branches: Sequence[Branch], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each picture is right, over the branches."""
    right: NDArray[np.float64] = np.mean([held.classes[branch].argmax(axis=1) == labels for branch in branches], axis=0)
    return right
