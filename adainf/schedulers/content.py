"""The content-aware scheduler of correctness: how probably each branch of a small menu is right on this picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adainf.schedulers.lookup import Choice

__all__ = ["Content", "Look", "certainty"]

_SURE = 1e-6

Floats = NDArray[np.float64]


def certainty(shares: NDArray[np.floating]) -> Floats:
    """What an answer says of its own correctness (pictures, 2), from the shares of its two best classes (pictures, 2…).

    The log odds of the best class, and its log ratio to the second.
    """
    one, two = np.clip(shares[:, :2].astype(np.float64), _SURE, 1 - _SURE).T
    return np.stack([np.log(one / (1 - one)), np.log(one / two)], axis=1)


@dataclass(frozen=True, eq=False)
class Look:
    """A first look at a picture, and what it tells of a menu's branches.

    scout: the menu's branch whose answer is looked at, which then is there already; None where only the first block
    has run. A branch that follows a scout answers together with it. cost: MACs of the look. extra: MACs of each branch
    of the menu after it (branches,), 0 for the scout.
    Fractions of the full branch's MACs. centre, spread: of the features. weights: (features + 1, branches).
    """

    scout: int | None
    cost: float
    extra: Floats
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
        value = right - price * self.extra
        fits = self.cost + self.extra <= allowed
        if not fits.any():
            fits = self.extra == self.extra.min()
        chosen: NDArray[np.intp] = np.where(fits, value, -np.inf).argmax(axis=1)
        return chosen

    @classmethod
    def fitted(
        cls, scout: int | None, cost: float, extra: Floats, features: Floats, right: NDArray[np.bool_], ridge: float
    ) -> "Look":
        """Learn from pictures, by ridge-penalised logistic regression for each branch; deterministic.

        features: (pictures, features). right: whether each branch was right (pictures, branches).
        """
        centre, spread = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
        scaled = (features - centre) / spread
        weights = np.stack([_regression(scaled, column, ridge) for column in right.T], axis=1)
        return cls(scout, cost, extra, centre, spread, weights)


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
    """A menu of branches, the looks that may be taken, and at which price which of them pays.

    prices: rising. looks_at: for each price the look, -1 where none pays; blind: for each price the menu's branch that
    is best without a look. means: what is spent at each price on average.
    """

    menu: tuple[Choice, ...]
    looks: tuple[Look, ...]
    prices: Floats
    looks_at: NDArray[np.intp]
    blind: NDArray[np.intp]
    means: Floats

    def price_for(self, mean: float) -> float:
        """The price at which about `mean` is spent, a fraction of the full branch's MACs."""
        return float(np.interp(-mean, -self.means, self.prices))

    def at(self, price: float) -> tuple[Look | None, int]:
        """The look that pays at `price`, and the branch that is best without one."""
        index = min(len(self.prices) - 1, int(np.searchsorted(self.prices, price)))
        look = self.looks_at[index]
        return (None if look < 0 else self.looks[look]), int(self.blind[index])


def within(menu: Sequence[Choice], index: int, allowed: float) -> int:
    """The branch `index` of a menu, cheapest first, or the dearest cheaper one that `allowed` has room for."""
    while index and menu[index].macs_fraction > allowed:
        index -= 1
    return index
