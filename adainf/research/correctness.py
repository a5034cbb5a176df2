"""Teaches the scheduler of correctness from answers on one part of the pictures, and tries it on another."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.evaluation.block_scheduler import Method, MethodOutcome
from adainf.evaluation.subject import Candidate
from adainf.profile import Profile
from adainf.research.answers import Answers
from adainf.research.correctness_scheduler import Content, ContentLook, Sight, certainty, within
from adainf.research.decision import decisions_of
from adainf.research.price import Price
from adainf.schedulers import Choice, LookupTable

__all__ = ["DECISIONS", "MENU", "content_methods", "learnt", "sights_of"]

MENU = 12
DECISIONS = 16
_FOLDS = 5
_RIDGE = 3.0
# From where nothing is worth its MACs to where everything is.
_PRICES = np.geomspace(0.01, 8.0, 120)
# A look must have paid by so much of the pictures, and by so many standard errors, before it is taken: of many looks
# the best on few pictures is often only the luckiest.
_MARGIN = 0.005
_ERRORS = 2.0


def learnt(profile: Profile, answers: Answers) -> Content:
    """A scheduler from the answers on pictures that are then not reported on.

    A look is judged by pictures that its predictions were not learnt from (five folds).
    """
    menu = LookupTable(profile, most=MENU).frontier
    fractions = np.array([choice.macs_fraction for choice in menu])
    on_each = answers.right[:, _columns(menu, answers)]
    blind = (on_each.mean(axis=0) - _PRICES[:, None] * fractions).argmax(axis=1)
    # What each picture brings without a look (prices, pictures).
    blind_value = on_each.T[blind] - (_PRICES * fractions[blind])[:, None]
    looks, gains, spent = [], [], []
    for sight in sights_of(profile, menu):
        features, right = _features(sight, answers), _right(sight, answers)
        looks.append(ContentLook.fitted(sight, features, right, _RIDGE))
        value, mean = _value(sight, features, right)
        gains.append(_surely(value - blind_value))
        spent.append(mean)
    best = np.argmax(np.stack(gains), axis=0)
    pays = np.max(np.stack(gains), axis=0) > 0
    looks_at = np.where(pays, best, -1)
    means = np.where(pays, np.stack(spent)[best, np.arange(len(_PRICES))], fractions[blind])
    # Noise aside, a higher price never makes one spend more.
    return Content(menu, tuple(looks), _PRICES, looks_at, blind, np.minimum.accumulate(means))


def sights_of(profile: Profile, menu: tuple[Choice, ...]) -> Iterator[Sight]:
    """Every way of looking that is tried: the first block, each answer but the dearest, each decision point."""
    space = profile.space
    yield Sight.of_first_block(menu, space)
    for scout in range(len(menu) - 1):
        yield Sight.of_scout(menu, scout)
    for decision in decisions_of(profile, DECISIONS):
        yield Sight.of_decision(decision, space)


def _columns(menu: Sequence[Choice], answers: Answers) -> list[int]:
    return [answers.column(Candidate(choice.branch, choice.weights)) for choice in menu]


def _right(sight: Sight, answers: Answers) -> NDArray[np.bool_]:
    """Whether each branch of the menu is right on each picture, together with the scout's answer where there is one."""
    columns = _columns(sight.menu, answers)
    if sight.scout is None:
        return answers.right[:, columns]
    both = [answers.together(columns[sight.scout], column) for column in columns]
    right: NDArray[np.bool_] = np.stack(both, axis=1) == answers.truth[:, None]
    return right


def _features(sight: Sight, answers: Answers) -> NDArray[np.float64]:
    """What is seen (pictures, features)."""
    if sight.scout is not None:
        return certainty(answers.shares[:, _columns(sight.menu, answers)[sight.scout]])
    if sight.point is not None:
        return answers.passed[sight.point].astype(np.float64)
    return answers.features.astype(np.float64)


def _value(
    sight: Sight, features: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At each price: right answers less price × MACs of each picture (prices, pictures), and the MACs of one (prices,).

    By predictions that were learnt from other pictures.
    """
    pictures = np.arange(len(right))
    predicted = np.empty(right.shape)
    for fold in range(_FOLDS):
        held_out = pictures % _FOLDS == fold
        look = ContentLook.fitted(sight, features[~held_out], right[~held_out], _RIDGE)
        predicted[held_out] = look.right(features[held_out])
    chosen = np.stack([look.choose(predicted, price, np.inf) for price in _PRICES])
    spent = sight.cost + sight.extra[chosen]
    return right[pictures, chosen] - _PRICES[:, None] * spent, spent.mean(axis=1)


def _surely(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of each row's mean, beyond the margin, when it is as much smaller as chance may make it."""
    by_chance = _ERRORS * gains.std(axis=1) / np.sqrt(gains.shape[1])
    left: NDArray[np.float64] = gains.mean(axis=1) - by_chance - _MARGIN
    return left


def content_methods(content: Content, answers: Answers, seed: int) -> list[Method]:
    """The scheduler under mean budgets, picture after picture in random order as a camera's frames would come.

    The control sees another picture's features than the one it chooses for: what it still gains is not by content.
    """
    trial = _Trial(content, answers, seed)
    floor = content.menu[0].macs_fraction
    return [
        Method("content", "mean", floor, lambda mean: trial.at(mean, shuffled=False)),
        Method("content, shuffled", "mean", floor, lambda mean: trial.at(mean, shuffled=True)),
    ]


class _Trial:
    def __init__(self, content: Content, answers: Answers, seed: int) -> None:
        self._content = content
        self._blindly = answers.right[:, _columns(content.menu, answers)].astype(np.float64)
        self._right = [_right(look.sight, answers).astype(np.float64) for look in content.looks]
        self._predicted = [look.right(_features(look.sight, answers)) for look in content.looks]
        self._pictures = len(answers.truth)
        generator = np.random.default_rng(seed)
        self._order = generator.permutation(self._pictures)
        self._other = generator.permutation(self._pictures)

    def at(self, mean: float, *, shuffled: bool) -> MethodOutcome:
        content = self._content
        price = Price(mean, value=content.price_for(mean))
        right = np.empty(self._pictures)
        spent = np.empty(self._pictures)
        for picture in self._order:
            taken, blind = content.at(price.value)
            sight = None if taken is None else content.looks[taken].sight
            if taken is None or sight is None or sight.cost + sight.extra.min() > price.allowed:
                chosen = within(content.menu, blind, price.allowed)
                right[picture] = self._blindly[picture, chosen]
                spent[picture], wanted = (content.menu[index].macs_fraction for index in (chosen, blind))
            else:
                look, seen = content.looks[taken], self._other[picture] if shuffled else picture
                predicted = self._predicted[taken][seen][None]
                chosen = int(look.choose(predicted, price.value, price.allowed)[0])
                right[picture] = self._right[taken][picture, chosen]
                spent[picture] = sight.cost + sight.extra[chosen]
                wanted = sight.cost + sight.extra[look.choose(predicted, price.value, np.inf)[0]]
            price = price.after(float(spent[picture]), float(wanted))
        return MethodOutcome(right, float(spent.mean()), float(spent.max()))
