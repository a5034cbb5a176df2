"""The content-aware scheduler of correctness: how probably each branch of a small menu is right on this picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.branch import BranchSpace
from adainf.evaluation.subject import Point
from adainf.research.decision import DecisionPoint
from adainf.schedulers.lookup import Choice

__all__ = ["Content", "ContentLook", "Sight", "certainty"]

_SURE = 1e-6

Floats = NDArray[np.float64]


def certainty(shares: NDArray[np.floating]) -> Floats:
    """What an answer says of its own correctness (pictures, 2), from the shares of its two best classes (pictures, 2…).

    The log odds of the best class, and its log ratio to the second.
    """
    one, two = np.clip(shares[:, :2].astype(np.float64), _SURE, 1 - _SURE).T
    return np.stack([np.log(one / (1 - one)), np.log(one / two)], axis=1)


@dataclass(frozen=True, eq=False)
class Sight:
    """What a picture can be looked at by, and what may then follow.

    menu: the branches that may follow, cheapest first. Looked at is one of:
    scout: a branch of the menu by its answer, which then is there already; a branch that follows answers together
    with it. point: what came out of a later block that all of the menu share, and go on from. None of them: what came
    out of the first block.
    cost: MACs of the look. extra: MACs of each branch of the menu after it (branches,), 0 for the scout.
    Fractions of the full branch's MACs.
    """

    menu: tuple[Choice, ...]
    scout: int | None
    point: Point | None
    cost: float
    extra: Floats

    @classmethod
    def of_scout(cls, menu: tuple[Choice, ...], scout: int) -> "Sight":
        """By the answer of a branch of the menu."""
        fractions = np.array([choice.macs_fraction for choice in menu])
        extra = np.where(np.arange(len(menu)) == scout, 0.0, fractions)
        return cls(menu, scout, None, float(fractions[scout]), extra)

    @classmethod
    def of_first_block(cls, menu: tuple[Choice, ...], space: BranchSpace) -> "Sight":
        """By the first block at the smallest input: what has run need not run again where a branch goes on from it."""
        point = Point(min(space.parts), "base", (True,))
        cost = point.macs(space) / space.macs(space.full)
        extra = np.array([choice.macs_fraction - cost * point.is_on(choice) for choice in menu])
        return cls(menu, None, None, cost, extra)

    @classmethod
    def of_decision(cls, decision: DecisionPoint, space: BranchSpace) -> "Sight":
        """By what came out of a later block: each branch costs only its rest."""
        full, spent = space.macs(space.full), decision.point.macs(space)
        extra = np.array([(choice.macs - spent) / full for choice in decision.menu])
        return cls(decision.menu, None, decision.point, spent / full, extra)


@dataclass(frozen=True, eq=False)
class ContentLook:
    """A first look at a picture, and what it tells of a menu's branches.

    centre, spread: of the features. weights: (features + 1, branches).
    """

    sight: Sight
    centre: Floats
    spread: Floats
    weights: Floats

    def right(self, features: Floats) -> Floats:
        """How probably each branch is right (pictures, branches), from the look's features (pictures, features)."""
        scaled = (features - self.centre) / self.spread
        return _logistic(scaled @ self.weights[1:] + self.weights[0])

    def choose(self, right: Floats, price: float, allowed: float) -> NDArray[np.intp]:
        """The branch with the highest probability less price × MACs, of those that `allowed` has room for.

        right: (pictures, branches). allowed: for the look and the branch together; the cheapest always has.
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
        """Learn from pictures, by ridge-penalised logistic regression for each branch; deterministic.

        features: (pictures, features); of many only the principal components count. right: whether each branch was
        right (pictures, branches).
        """
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        scaled = (features - centre) / spread
        axes = _axes(scaled)
        found = np.stack([_regression(scaled @ axes, column, ridge) for column in right.T], axis=1)
        return cls(sight, centre, spread, np.concatenate([found[:1], axes @ found[1:]]))


# Pictures for each direction that is learnt from: with fewer a regression learns the pictures by heart.
_PICTURES_AN_AXIS = 16


def _axes(scaled: Floats) -> Floats:
    """The directions (features, axes) in which the pictures differ most, to unit deviation; all where they are few."""
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
    """Newton's method; the penalty is on the intercept too, a little, so that branches that are always right fit."""
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.01
    weights = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        found = _logistic(design @ weights)
        gradient = design.T @ (found - right) + penalty * weights
        curvature = (design * (found * (1 - found))[:, None]).T @ design + np.diag(penalty)
        weights = weights - np.linalg.solve(curvature, gradient)
    return weights


@dataclass(frozen=True, eq=False)
class Content:
    """A menu of branches to take without a look, the looks that may be taken, and at which price which of them pays.

    prices: rising. looks_at: for each price the look, -1 where none pays; blind: for each price the menu's branch that
    is best without a look. means: what is spent at each price on average.
    """

    menu: tuple[Choice, ...]
    looks: tuple[ContentLook, ...]
    prices: Floats
    looks_at: NDArray[np.intp]
    blind: NDArray[np.intp]
    means: Floats

    def price_for(self, mean: float) -> float:
        """The price at which about `mean` is spent, a fraction of the full branch's MACs."""
        return float(np.interp(-mean, -self.means, self.prices))

    def at(self, price: float) -> tuple[int | None, int]:
        """Which look pays at `price`, if any, and which branch of the menu is best without one."""
        index = min(len(self.prices) - 1, int(np.searchsorted(self.prices, price)))
        look = int(self.looks_at[index])
        return (None if look < 0 else look), int(self.blind[index])


def within(menu: Sequence[Choice], index: int, allowed: float) -> int:
    """The branch `index` of a menu, cheapest first, or the dearest cheaper one that `allowed` has room for."""
    while index and menu[index].macs_fraction > allowed:
        index -= 1
    return index
