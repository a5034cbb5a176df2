"""Teaches the scheduler of correctness from answers on one part of the pictures, and tries it on another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.evaluation.answers import Answers
from adainf.evaluation.methods import Method, Outcome
from adainf.evaluation.subject import Candidate
from adainf.profile import Profile
from adainf.schedulers import Choice, LookupTable
from adainf.schedulers.content import Content, Look, certainty, within
from adainf.schedulers.price import Price

__all__ = ["MENU", "content_methods", "learnt"]

MENU = 12
_FOLDS = 5
_RIDGE = 3.0
# From where nothing is worth its MACs to where everything is.
_PRICES = np.geomspace(0.01, 8.0, 120)
# A look must have paid by so much of the pictures before it is taken: of several looks the best on few pictures is
# often only the luckiest.
_MARGIN = 0.005


def learnt(profile: Profile, answers: Answers) -> Content:
    """A scheduler from the answers on pictures that are then not reported on.

    A look is judged by pictures that its predictions were not learnt from (five folds).
    """
    menu = LookupTable(profile, most=MENU).frontier
    columns = _columns(menu, answers)
    fractions = np.array([choice.macs_fraction for choice in menu])
    looks, values, spent = [], [], []
    for scout in (None, *range(len(menu) - 1)):
        features, cost, extra = _look(scout, menu, columns, answers, fractions, profile)
        right = _right(scout, columns, answers)
        looks.append(Look.fitted(scout, cost, extra, features, right, _RIDGE))
        value, mean = _value(scout, cost, extra, features, right)
        values.append(value)
        spent.append(mean)
    means_right = _right(None, columns, answers).mean(axis=0)
    blind_value = means_right[None] - _PRICES[:, None] * fractions[None]
    blind = blind_value.argmax(axis=1)
    best = np.argmax(np.stack(values), axis=0)
    best_value = np.max(np.stack(values), axis=0)
    pays = best_value > blind_value.max(axis=1) + _MARGIN
    looks_at = np.where(pays, best, -1)
    means = np.where(pays, np.stack(spent)[best, np.arange(len(_PRICES))], fractions[blind])
    # Noise aside, a higher price never makes one spend more.
    return Content(menu, tuple(looks), _PRICES, looks_at, blind, np.minimum.accumulate(means))


def _columns(menu: Sequence[Choice], answers: Answers) -> list[int]:
    return [answers.column(Candidate(choice.branch, choice.weights)) for choice in menu]


def _right(scout: int | None, columns: Sequence[int], answers: Answers) -> NDArray[np.bool_]:
    """Whether each branch of the menu is right on each picture, together with the scout's answer where there is one."""
    if scout is None:
        return answers.right[:, columns]
    both = [answers.together(columns[scout], column) for column in columns]
    right: NDArray[np.bool_] = np.stack(both, axis=1) == answers.truth[:, None]
    return right


def _look(
    scout: int | None,
    menu: Sequence[Choice],
    columns: Sequence[int],
    answers: Answers,
    fractions: NDArray[np.float64],
    profile: Profile,
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """What is seen by a look (pictures, features), what it costs, and what each branch of the menu costs after it."""
    if scout is not None:
        seen = certainty(answers.shares[:, columns[scout]])
        return seen, float(fractions[scout]), np.where(np.arange(len(menu)) == scout, 0.0, fractions)
    side = min(profile.parts)
    parts = profile.space.parts[side]
    cost = (parts.stem + parts.blocks[0]) / profile.space.macs(profile.space.full)
    # What has run already need not run again where the branch goes on from it.
    goes_on = np.array([choice.branch.resolution == side and choice.weights == "base" for choice in menu])
    return answers.features.astype(np.float64), cost, fractions - cost * goes_on


def _value(
    scout: int | None,
    cost: float,
    extra: NDArray[np.float64],
    features: NDArray[np.float64],
    right: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At each price: right answers less price × MACs, and MACs, a picture, on pictures that nothing was learnt from."""
    pictures = np.arange(len(right))
    predicted = np.empty(right.shape)
    for fold in range(_FOLDS):
        held_out = pictures % _FOLDS == fold
        look = Look.fitted(scout, cost, extra, features[~held_out], right[~held_out], _RIDGE)
        predicted[held_out] = look.right(features[held_out])
    value, mean = np.empty(len(_PRICES)), np.empty(len(_PRICES))
    for index, price in enumerate(_PRICES):
        chosen = look.choose(predicted, price, np.inf)
        spent = cost + extra[chosen]
        value[index] = right[pictures, chosen].mean() - price * spent.mean()
        mean[index] = spent.mean()
    return value, mean


def content_methods(profile: Profile, content: Content, answers: Answers, seed: int) -> list[Method]:
    """The scheduler under mean budgets, picture after picture in random order as a camera's frames would come.

    The control sees another picture's features than the one it chooses for: what it still gains is not by content.
    """
    trial = _Trial(profile, content, answers, seed)
    floor = content.menu[0].macs_fraction
    return [
        Method("content", "mean", floor, lambda mean: trial.at(mean, shuffled=False)),
        Method("content, shuffled", "mean", floor, lambda mean: trial.at(mean, shuffled=True)),
    ]


class _Trial:
    def __init__(self, profile: Profile, content: Content, answers: Answers, seed: int) -> None:
        self._content = content
        columns = _columns(content.menu, answers)
        self._right = {
            scout: _right(scout, columns, answers).astype(np.float64) for scout in (None, *range(len(columns)))
        }
        self._pictures = len(answers.truth)
        fractions = np.array([choice.macs_fraction for choice in content.menu])
        self._predicted = [
            look.right(_look(look.scout, content.menu, columns, answers, fractions, profile)[0])
            for look in content.looks
        ]
        generator = np.random.default_rng(seed)
        self._order = generator.permutation(self._pictures)
        self._other = generator.permutation(self._pictures)

    def at(self, mean: float, *, shuffled: bool) -> Outcome:
        content = self._content
        price = Price(mean, value=content.price_for(mean))
        right = np.empty(self._pictures)
        spent = np.empty(self._pictures)
        for picture in self._order:
            scout = None
            look, blind = content.at(price.value)
            if look is None or look.cost + look.extra.min() > price.allowed:
                chosen = within(content.menu, blind, price.allowed)
                spent[picture], wanted = (content.menu[index].macs_fraction for index in (chosen, blind))
            else:
                scout = look.scout
                seen = self._other[picture] if shuffled else picture
                predicted = self._predicted[content.looks.index(look)][seen][None]
                chosen = int(look.choose(predicted, price.value, price.allowed)[0])
                spent[picture] = look.cost + look.extra[chosen]
                wanted = look.cost + look.extra[look.choose(predicted, price.value, np.inf)[0]]
            right[picture] = self._right[scout][picture, chosen]
            price = price.after(float(spent[picture]), float(wanted))
        return Outcome(right, float(spent.mean()), float(spent.max()))
