"""Fitting of taught classes: a linear head a network, and the familiar sights of each branch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.classes.taught import ClassHead, Familiar, roots, unknown_score

__all__ = ["Fitted", "fit", "with_unknown"]

# On Caltech-101 (20 categories, 10 photographs each) decays of 1e-4 to 1e-1 and 10 to 80 steps differ by less than a
# point. Deviations are bounded below, since features that hardly vary among few pictures say little.
_DECAY = 1e-2
_STEPS = 20
_MOST_SIGHTS = 24
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Fitted:
    """Heads of the networks, and what is familiar along each branch, with thresholds still to be chosen."""

    heads: Mapping[str, ClassHead]
    familiar: Mapping[Branch, Familiar]

    def classes(self, branch: Branch, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the classes' scores (pictures, labels) of features (pictures, width) along a branch."""
        return self.heads[branch.network].scores(features)

    def distances(self, branch: Branch, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the distances (pictures,) of features (pictures, width) from what is familiar along a branch."""
        return np.array([self.familiar[branch].distance(row) for row in features])

    def scores(self, branch: Branch, features: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
        """Return scores (pictures, labels + 1) of features (pictures, width), the last one unknown's."""
        return with_unknown(self.classes(branch, features), self.distances(branch, features), threshold)


def with_unknown(classes: NDArray[np.float32], distances: NDArray[np.float64], threshold: float) -> NDArray[np.float32]:
    """Return the classes' scores (pictures, labels) with unknown's (pictures, labels + 1), as `Taught.scores` does."""
    pairs = zip(classes, distances, strict=True)
    unknown = [unknown_score(row, distance, threshold) for row, distance in pairs]
    return np.column_stack([classes, unknown]).astype(np.float32)


def fit(
    of_branch: Mapping[Branch, NDArray[np.float32]], labels: NDArray[np.int64], rows: NDArray[np.intp], count: int
) -> Fitted:
    """Fit heads for `count` classes to `rows` of features (views, examples, width) of each branch.

    labels: each example's class. A network's head is fitted to the features of all of its branches together: measured,
    it is as good as a head a branch, and better on cheap branches than the head of the full one.
    """
    heads = {}
    for key in dict.fromkeys(branch.network for branch in of_branch):
        features = [of[:, rows].reshape(-1, of.shape[2]) for branch, of in of_branch.items() if branch.network == key]
        views = sum(len(of) for branch, of in of_branch.items() if branch.network == key)
        heads[key] = _head(roots(np.concatenate(features)), np.tile(labels[rows], views), count)
    return Fitted(heads, {branch: _familiar(of[:, rows].reshape(-1, of.shape[2])) for branch, of in of_branch.items()})


def _head(features: NDArray[np.float32], labels: NDArray[np.int64], count: int) -> ClassHead:
    """Return the multinomial logistic regression of labels (rows,) on inputs (rows, width), each class as heavy."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3 * features.std() + 1e-12)
    inputs = torch.from_numpy((features - mean) / deviation)
    targets = torch.from_numpy(labels)
    heaviness = torch.from_numpy(len(labels) / (count * np.bincount(labels, minlength=count).clip(1))).float()
    weight = torch.zeros(count, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        entropy = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, targets, heaviness)
        total = entropy + _DECAY / 2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    scaled = weight.detach().numpy() / deviation
    return ClassHead(scaled, bias.detach().numpy() - scaled @ mean)


def _familiar(features: NDArray[np.float32]) -> Familiar:
    """Return the features (pictures, width) thinned to a few sights by spherical k-means."""
    units = features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)
    sights = _farthest(units, _MOST_SIGHTS)
    for _ in range(_ROUNDS if len(units) > len(sights) else 0):
        nearest = (units @ sights.T).argmax(axis=1)
        sums = (nearest == np.arange(len(sights))[:, None]).astype(np.float32) @ units
        sights = sums / np.linalg.norm(sums, axis=1, keepdims=True).clip(1e-12)
    return Familiar(sights, 1.0)


def _farthest(units: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return at most this many of the unit vectors, each the farthest from those before it."""
    chosen = [0]
    nearest = units @ units[0]
    while len(chosen) < min(most, len(units)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, units @ units[chosen[-1]])
    return units[chosen]
