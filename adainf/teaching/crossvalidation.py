"""Cross-validation of taught classes: the scores of each example by heads that have not seen it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.teaching.examples import Example
from adainf.teaching.features import Features
from adainf.teaching.fitting import fit, with_unknown

__all__ = ["HeldOut", "folds", "held_out"]

# Along each branch the threshold is this quantile of the held-out examples' distances, times the margin, since later
# pictures of the same scene lie farther away than those of a block between taught ones. Pictures of a scene that hardly
# moves lie so close together that any change would be unknown; so the threshold is at least this share of the distance
# of pictures that show nothing. In two clips at 64, 112 and 224 px 97 % of later frames lie within 0.53 of it and other
# scenes beyond 0.62; in one of them at 80 px the two meet at 0.54. The share was chosen on the clips of the report.
_KNOWN_SHARE = 0.97
_MARGIN = 1.2
_SHARE_OF_NOTHING = 0.55
_LEAST_THRESHOLD = 1e-4

_MOST_FOLDS = 5
# Neighbours within this time of each other show the same moment.
_NEIGHBOURS_SECONDS = 1.0

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What heads say of examples that they were not fitted to.

    classes: the classes' scores (examples, labels) along each branch. distances: (examples,), from what was familiar.
    nothing: the least distance of pictures that show nothing.
    """

    classes: Mapping[Branch, NDArray[np.float32]]
    distances: Mapping[Branch, NDArray[np.float64]]
    nothing: Mapping[Branch, float]

    def threshold(self, branch: Branch) -> float:
        """Return the distance from which pictures are unknown along a branch."""
        usual = float(np.quantile(self.distances[branch], _KNOWN_SHARE))
        return float(np.clip(max(_MARGIN * usual, _SHARE_OF_NOTHING * self.nothing[branch]), _LEAST_THRESHOLD, 2))

    def scores(self, branch: Branch) -> NDArray[np.float32]:
        """Return scores before softmax (examples, labels + 1), the last one unknown's, as `Taught.scores` does."""
        return with_unknown(self.classes[branch], self.distances[branch], self.threshold(branch))


def held_out(
    features: Features,
    labels: NDArray[np.int64],
    examples: Sequence[Example],
    *,
    timed: bool,
    every: int = 1,
) -> HeldOut:
    """Return what heads say of each example that were fitted without its fold (`folds`).

    labels: each example's class. every: fit to every so many-th of the other examples of each class.
    """
    of_branch = features.of_branch
    count = int(labels.max()) + 1
    classes = {branch: np.empty((len(labels), count), np.float32) for branch in of_branch}
    distances = {branch: np.empty(len(labels)) for branch in of_branch}
    nothing = dict.fromkeys(of_branch, math.inf)
    for fitted_rows, held in folds(examples, timed=timed):
        thinned = np.concatenate([fitted_rows[labels[fitted_rows] == label][::every] for label in range(count)])
        fitted = fit(of_branch, labels, thinned, count)
        for branch, of in of_branch.items():
            classes[branch][held] = fitted.classes(branch, of[0, held])
            distances[branch][held] = fitted.distances(branch, of[0, held])
            nothing[branch] = min(nothing[branch], fitted.distances(branch, features.nothing[branch]).min())
    return HeldOut(classes, distances, nothing)


def folds(examples: Sequence[Example], *, timed: bool) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows to fit and the rows held out of each fold; every row is held out once.

    examples: each label's in a run, by rising time. A label's episodes are held out whole where it has three or more,
    else its examples are cut into blocks. timed: the examples next to a held-out one are left out if they are within a
    second of it.
    """
    of_fold = np.concatenate([_blocks([example.episode for example in of]) for of in _by_label(examples)])
    times = np.array([example.time for example in examples])
    rows = np.arange(len(examples))
    for fold in range(int(of_fold.max()) + 1):
        held, fitted = rows[of_fold == fold], rows[of_fold != fold]
        if timed:
            near = np.abs(times[fitted, None] - times[None, held]).min(axis=1) < _NEIGHBOURS_SECONDS
            beside = np.abs(fitted[:, None] - held[None]).min(axis=1) == 1
            apart = fitted[~(near & beside)]
            # A label that would lose all its examples keeps them.
            left = {examples[row].label for row in apart}
            fitted = np.array([row for row in fitted if row in apart or examples[row].label not in left])
        yield fitted, held


def _by_label(examples: Sequence[Example]) -> list[list[Example]]:
    return [list(of) for _, of in groupby(examples, key=lambda example: example.label)]


def _blocks(episodes: Sequence[int]) -> NDArray[np.intp]:
    """Return the fold (examples,) of one label's examples by their episodes."""
    numbers = np.unique(episodes, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if count < 3:
        numbers, count = np.arange(len(episodes)), len(episodes)
    # Whole episodes, in order, into folds of about equal numbers of examples.
    middles = np.array([np.flatnonzero(numbers == number).mean() + 0.5 for number in range(count)]) / len(episodes)
    of_episode = np.minimum((middles * min(_MOST_FOLDS, count)).astype(np.intp), _MOST_FOLDS - 1)
    return np.unique(of_episode, return_inverse=True)[1][numbers].astype(np.intp)
