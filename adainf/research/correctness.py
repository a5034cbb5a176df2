"""Fitting of the scheduler of correctness to answers on some pictures, and its evaluation on others."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from adainf.evaluation.block_scheduler import Method, MethodOutcome
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
# From prices at which all MACs are worth spending to prices at which none are.
_PRICES = np.geomspace(0.01, 8.0, 120)
# A look is taken only if its gain exceeds this share of the pictures by this many standard errors: of many looks, the
# best on few pictures is often only the luckiest.
_MARGIN = 0.005
_ERRORS = 2.0


def learnt(profile: Profile, answers: Answers) -> Content:
    """Fit a scheduler to the answers on pictures that are not used for reporting.

    Looks are judged by five-fold cross-validation: on pictures that their predictions were not fitted to.
    """
    menu = LookupTable(profile, most=MENU).frontier
    fractions = np.array([choice.macs_fraction for choice in menu])
    on_each = answers.right[:, _columns(menu, answers)]
    blind = (on_each.mean(axis=0) - _PRICES[:, None] * fractions).argmax(axis=1)
    # Each picture's value without a look (prices, pictures).
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
    # Spending cannot rise with the price; the minimum removes noise that says otherwise.
    return Content(menu, tuple(looks), _PRICES, looks_at, blind, np.minimum.accumulate(means))


def sights_of(profile: Profile, menu: tuple[Choice, ...]) -> Iterator[Sight]:
    """Yield every look to try: the first block, each answer but the most expensive branch's, each decision point."""
    space = profile.space
    yield Sight.of_first_block(menu, space)
    for scout in range(len(menu) - 1):
        yield Sight.of_scout(menu, scout)
    for decision in decisions_of(profile, DECISIONS):
        yield Sight.of_decision(decision, space)


def _columns(menu: Sequence[Choice], answers: Answers) -> list[int]:
    return [answers.column(choice.branch) for choice in menu]


def _right(sight: Sight, answers: Answers) -> NDArray[np.bool_]:
    """Return whether each branch of the menu is right (pictures, branches), jointly with the scout if there is one."""
    columns = _columns(sight.menu, answers)
    if sight.scout is None:
        return answers.right[:, columns]
    joint = [answers.together(columns[sight.scout], column) for column in columns]
    right: NDArray[np.bool_] = np.stack(joint, axis=1) == answers.truth[:, None]
    return right


def _features(sight: Sight, answers: Answers) -> NDArray[np.float64]:
    """Return the features that a sight yields (pictures, features)."""
    if sight.scout is not None:
        return certainty(answers.shares[:, _columns(sight.menu, answers)[sight.scout]])
    if sight.point is not None:
        return answers.passed[sight.point].astype(np.float64)
    return answers.features.astype(np.float64)


def _value(
    sight: Sight, features: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each picture's right answers less price × MACs (prices, pictures), and the mean MACs (prices,).

    Predictions come from cross-validation: they are fitted to other pictures.
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
    """Return each row's mean less two standard errors and the margin: the gain that is not due to chance."""
    noise = _ERRORS * gains.std(axis=1) / np.sqrt(gains.shape[1])
    gain: NDArray[np.float64] = gains.mean(axis=1) - noise - _MARGIN
    return gain


def content_methods(content: Content, answers: Answers, seed: int) -> list[Method]:
    """Return the scheduler under mean budgets, with pictures in random order one at a time, like a camera's frames.

    Also returns a control that sees another picture's features: any gain it retains does not come from content.
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
            look_index, blind = content.at(price.value)
            sight = None if look_index is None else content.looks[look_index].sight
            if look_index is None or sight is None or sight.cost + sight.extra.min() > price.allowed:
                chosen = within(content.menu, blind, price.allowed)
                right[picture] = self._blindly[picture, chosen]
                spent[picture], unlimited = (content.menu[index].macs_fraction for index in (chosen, blind))
            else:
                look, seen_picture = content.looks[look_index], self._other[picture] if shuffled else picture
                predicted = self._predicted[look_index][seen_picture][None]
                chosen = int(look.choose(predicted, price.value, price.allowed)[0])
                right[picture] = self._right[look_index][picture, chosen]
                spent[picture] = sight.cost + sight.extra[chosen]
                unlimited = sight.cost + sight.extra[look.choose(predicted, price.value, np.inf)[0]]
            price = price.after(float(spent[picture]), float(unlimited))
        return MethodOutcome(right, float(spent.mean()), float(spent.max()))
