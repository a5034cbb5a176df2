"""The content-aware scheduler of correctness: predicts how likely each branch of a small menu is right on a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.branch import FamilySpace
from adainf.evaluation.subject import Point
from adainf.research.decision import DecisionPoint
from adainf.schedulers.lookup import Choice

__all__ = ["Content", "ContentLook", "Sight", "certainty"]

_SURE = 1e-6

Floats = NDArray[np.float64]


def certainty(shares: NDArray[np.floating]) -> Floats:
    """Return confidence features of an answer (pictures, 2), from the shares of its two best classes (pictures, 2…).

    The log odds of the best class, and its log ratio to the second.
    """
    best, second = np.clip(shares[:, :2].astype(np.float64), _SURE, 1 - _SURE).T
    return np.stack([np.log(best / (1 - best)), np.log(best / second)], axis=1)


@dataclass(frozen=True, eq=False)
class Sight:
    """The source of a look's features, and the branches that may follow the look.

    menu: the branches that may follow, cheapest first. The features come from one of:
    scout: a menu branch's answer, which is then available already; a branch that follows answers jointly with it.
    point: the output of a later block that the whole menu shares and continues from. Neither: the first block's output.
    cost: MACs of the look. extra: MACs of each menu branch after the look (branches,), 0 for the scout.
    Both are fractions of the full branch's MACs.
    """

    menu: tuple[Choice, ...]
    scout: int | None
    point: Point | None
    cost: float
    extra: Floats

    @classmethod
    def of_scout(cls, menu: tuple[Choice, ...], scout: int) -> "Sight":
        """Return the sight by the answer of a menu branch, given by its index."""
        fractions = np.array([choice.macs_fraction for choice in menu])
        extra = np.where(np.arange(len(menu)) == scout, 0.0, fractions)
        return cls(menu, scout, None, float(fractions[scout]), extra)

    @classmethod
    def of_first_block(cls, menu: tuple[Choice, ...], space: FamilySpace) -> "Sight":
        """Return the sight by the first block at the smallest input; branches that continue from it reuse it."""
        point = Point(min(space.reference.parts), (True,))
        cost = point.macs(space) / space.macs(space.full)
        extra = np.array([choice.macs_fraction - cost * point.is_on(choice.branch) for choice in menu])
        return cls(menu, None, None, cost, extra)

    @classmethod
    def of_decision(cls, decision: DecisionPoint, space: FamilySpace) -> "Sight":
        """Return the sight by a later block's output; each branch costs only its remaining blocks."""
        full, spent = space.macs(space.full), decision.point.macs(space)
        extra = np.array([(choice.macs - spent) / full for choice in decision.menu])
        return cls(decision.menu, None, decision.point, spent / full, extra)


@dataclass(frozen=True, eq=False)
class ContentLook:
    """A first look at a picture, and a model that predicts from it which branches are right.

    centre, spread: mean and standard deviation of the features. weights: (features + 1, branches), intercepts first.
    """

    sight: Sight
    centre: Floats
    spread: Floats
    weights: Floats

    def right(self, features: Floats) -> Floats:
        """Return each branch's probability of being right (pictures, branches), for features (pictures, features)."""
        scaled = (features - self.centre) / self.spread
        return _logistic(scaled @ self.weights[1:] + self.weights[0])

    def choose(self, right: Floats, price: float, allowed: float) -> NDArray[np.intp]:
        """Return the branch (pictures,) with the highest probability less price × MACs, of those within `allowed`.

        right: (pictures, branches). allowed: the most MACs of look and branch together, a fraction of the full
        branch's; if no branch fits, the cheapest is taken.
        """
        extra = self.sight.extra
        value = right - price * extra
        fits = self.sight.cost + extra <= allowed
        if not fits.any():
            fits = extra == extra.min()
        chosen: NDArray[np.intp] = np.where(fits, value, -np.inf).argmax(axis=1)
        return chosen

    @classmethod
    def fitted(cls, sight: Sight, features: Floats, right: NDArray[np.bool_], ridge: float) -> "ContentLook":
        """Fit a ridge-penalised logistic regression per branch; deterministic.

        features: (pictures, features); if there are many, only their principal components are used. right: whether each
        branch was right (pictures, branches).
        """
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        scaled = (features - centre) / spread
        axes = _axes(scaled)
        weights = np.stack([_regression(scaled @ axes, column, ridge) for column in right.T], axis=1)
        return cls(sight, centre, spread, np.concatenate([weights[:1], axes @ weights[1:]]))


# Pictures needed per principal direction; with fewer, the regression overfits.
_PICTURES_AN_AXIS = 16


def _axes(scaled: Floats) -> Floats:
    """Return the principal directions (features, axes), scaled to unit deviation; the identity for few features."""
    pictures, features = scaled.shape
    most = max(2, pictures // _PICTURES_AN_AXIS)
    if features <= most:
        return np.eye(features)
    _, lengths, directions = np.linalg.svd(scaled, full_matrices=False)
    kept = lengths[:most] > 1e-6 * lengths[0]
    axes: Floats = directions[:most][kept].T * (np.sqrt(pictures) / lengths[:most][kept])
    return axes


def _logistic(odds: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    return result


_ROUNDS = 20


def _regression(features: Floats, right: NDArray[np.bool_], ridge: float) -> Floats:
    """Fit one branch's weights by Newton's method.

    A small penalty on the intercept keeps the fit finite for branches that are always right.
    """
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.01
    weights = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        probabilities = _logistic(design @ weights)
        gradient = design.T @ (probabilities - right) + penalty * weights
        curvature = (design * (probabilities * (1 - probabilities))[:, None]).T @ design + np.diag(penalty)
        weights = weights - np.linalg.solve(curvature, gradient)
    return weights


@dataclass(frozen=True, eq=False)
class Content:
    """The fitted scheduler: a menu to choose from without a look, the possible looks, and the best look at each price.

    prices: ascending. looks_at: each price's look, -1 if none pays. blind: each price's best menu branch without a
    look. means: mean MACs spent at each price, a fraction of the full branch's.
    """

    menu: tuple[Choice, ...]
    looks: tuple[ContentLook, ...]
    prices: Floats
    looks_at: NDArray[np.intp]
    blind: NDArray[np.intp]
    means: Floats

    def price_for(self, mean: float) -> float:
        """Return the price at which about `mean` is spent, a fraction of the full branch's MACs."""
        return float(np.interp(-mean, -self.means, self.prices))

    def at(self, price: float) -> tuple[int | None, int]:
        """Return the index of the look that pays at `price`, if any, and of the best menu branch without a look."""
        index = min(len(self.prices) - 1, int(np.searchsorted(self.prices, price)))
        look = int(self.looks_at[index])
        return (None if look < 0 else look), int(self.blind[index])


def within(menu: Sequence[Choice], index: int, allowed: float) -> int:
    """Return `index`, or if that branch exceeds `allowed`, the index of the most expensive cheaper one that fits.

    menu: cheapest first; its first branch is returned if none fits.
    """
    while index and menu[index].macs_fraction > allowed:
        index -= 1
    return index
