"""Cross-validation of taught classes: the scores of each example by heads that have not seen it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.teaching.examples import Example
from adainf.teaching.features import Features
from adainf.teaching.fitting import fit, with_unknown
from adainf.teaching.folds import folds

__all__ = ["HeldOut", "held_out"]

# Along each branch the threshold is this quantile of the held-out examples' distances, times the margin, since later
# pictures of the same scene lie farther away than those of a block between taught ones. Pictures of a scene that hardly
# moves lie so close together that any change would be unknown; so the threshold is at least this share of the distance
# of pictures that show nothing. Another scene's distance is 0.55 to 0.75 of it (benchmarks/teaching.py).
_KNOWN_SHARE = 0.97
_MARGIN = 1.2
_SHARE_OF_NOTHING = 0.4
_LEAST_THRESHOLD = 1e-4


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
