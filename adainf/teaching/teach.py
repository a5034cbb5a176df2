"""Teaching: from examples and a profile to taught classes, and a report of how good they are."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adainf import __version__
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.classes.taught import Taught
from adainf.evaluation.subject import Subject, check_subject
from adainf.profile import Calibration, Measured, Profile
from adainf.run import now
from adainf.teaching.advice import Doubt, Twins, Wish, doubts, mean_probabilities, twins, wishes
from adainf.teaching.crossvalidation import HeldOut, held_out
from adainf.teaching.examples import Examples, check_teachable
from adainf.teaching.features import Features, features_of, with_small_inputs
from adainf.teaching.fitting import fit
from adainf.teaching.levels import Level, level, useful, within_a_point

__all__ = ["Lesson", "evaluate", "evaluate_before", "learn", "teach"]


_CHEAP = 4
"""Branches along which it is tried whether to squeeze pictures: together half of the full one's MACs."""

# Below every score of a picture, the score of a class that was not taught.
_NEVER = 20.0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Taught classes, and how good they are by cross-validation.

    levels: of every branch that was tried, the cheapest first. shares: the probabilities (pictures, labels + 1) of each
    example by heads that have not seen it, means over the branches within a point of the best. doubts, twins, wishes:
    rows refer to `examples`.
    """

    taught: Taught
    examples: Examples
    levels: tuple[Level, ...]
    shares: NDArray[np.float64]
    doubts: tuple[Doubt, ...]
    twins: tuple[Twins, ...]
    wishes: tuple[Wish, ...]


def teach(
    subject: Subject, profile: Profile, examples: Examples, *, squeezed: bool | None = None, mirrored: bool = False
) -> Lesson:
    """Teach the classes of `examples` to the profile's networks.

    squeezed: the whole picture fills the networks' square, as in `Engine.prepare`; None tries which is better on cheap
    branches. mirrored: the classes look the same in a mirror. Raises InvalidInputError if the profile is of other
    networks, or the examples cannot teach.
    """
    check_teachable(examples)
    check_subject(profile, subject)
    widened, branches = with_small_inputs(profile, subject)
    labels = np.array([examples.labels.index(example.label) for example in examples.every])
    if squeezed is None:
        losses = {way: _loss(subject, widened, examples, labels, branches, squeezed=way) for way in (True, False)}
        squeezed = losses[True] <= losses[False]
    features = features_of(subject, examples.every, branches, squeezed=squeezed, augmented=True, mirrored=mirrored)
    _check_different(features.thumbnails, examples, labels)
    return learn(widened, examples, features, labels, squeezed=squeezed)


def _loss(
    subject: Subject,
    profile: Profile,
    examples: Examples,
    labels: NDArray[np.int64],
    branches: Sequence[Branch],
    *,
    squeezed: bool,
) -> float:
    """Return the mean cross-validated loss along the cheapest of the branches, whose features take little time."""
    features = features_of(subject, examples.every, branches[:_CHEAP], squeezed=squeezed)
    held = held_out(features, labels, examples.every, timed=examples.timed)
    losses = [level(profile.space, branch, held.scores(branch), labels).loss for branch in features.of_branch]
    return float(np.mean(losses))


def learn(
    profile: Profile, examples: Examples, features: Features, labels: NDArray[np.int64], *, squeezed: bool
) -> Lesson:
    """Fit and cross-validate heads on features. labels: each example's class."""
    every, timed = examples.every, examples.timed
    held = held_out(features, labels, every, timed=timed)
    by_half = held_out(features, labels, every, timed=timed, every=2)
    levels = {branch: level(profile.space, branch, held.scores(branch), labels) for branch in features.of_branch}
    good = [of.branch for of in within_a_point(levels.values())]
    shares = mean_probabilities(held, good)
    kept = useful(levels, profile.space.full)
    fitted = fit(features.of_branch, labels, np.arange(len(labels)), len(examples.labels))
    taught = Taught(
        examples.labels,
        _profile(profile, levels, kept, held, examples),
        squeezed,
        {key: head for key, head in fitted.heads.items() if key in {branch.network for branch in kept}},
        {branch: replace(fitted.familiar[branch], threshold=held.threshold(branch)) for branch in kept},
    )
    return Lesson(
        taught,
        examples,
        tuple(sorted(levels.values(), key=lambda of: of.macs)),
        shares,
        tuple(doubts(shares, labels)),
        tuple(twins(features.thumbnails, labels)),
        tuple(wishes(held, by_half, good, labels)),
    )


def evaluate(subject: Subject, taught: Taught, examples: Examples) -> tuple[Level, ...]:
    """Return what each taught branch is worth on other examples, the cheapest first.

    Raises InvalidInputError if the classes were taught with other networks, or an example has another label.
    """
    _check_same_networks(subject, taught)
    for label in examples.labels:
        if label not in taught.names:
            raise InvalidInputError(f"label {label!r}: the classes are {', '.join(map(repr, taught.names))}")
    return _levels(subject, taught, examples, taught.names)


def evaluate_before(subject: Subject, before: Taught, examples: Examples) -> tuple[Level, ...]:
    """Return what branches that were taught before are worth on new examples, the cheapest first.

    Examples of classes that were not taught then count as wrong. Raises InvalidInputError if the classes were taught
    with other networks.
    """
    _check_same_networks(subject, before)
    added = [label for label in examples.labels if label not in before.names]
    return _levels(subject, before, examples, (*before.names, *added))


def _check_same_networks(subject: Subject, taught: Taught) -> None:
    for key, network in taught.profile.of_key.items():
        if network.weights != subject.weights.get(key):
            raise InvalidInputError(f"classes: were taught to other weights of {network.backbone} than these")
    check_subject(taught.profile, subject)


def _levels(subject: Subject, taught: Taught, examples: Examples, names: Sequence[str]) -> tuple[Level, ...]:
    """Return the levels of the taught branches. names: the taught ones, and behind them others that are never given."""
    branches = sorted(taught.familiar, key=taught.profile.space.macs)
    features = features_of(subject, examples.every, branches, squeezed=taught.squeezed)
    truth = np.array([names.index(example.label) for example in examples.every])
    found = []
    for branch in branches:
        scores = np.stack([taught.scores(branch, row) for row in features.of_branch[branch][0]])
        never = np.full((len(scores), len(names) - len(taught.names)), scores.min() - _NEVER, np.float32)
        found.append(level(taught.profile.space, branch, np.concatenate([scores, never], axis=1), truth))
    return tuple(found)


def _check_different(thumbnails: NDArray[np.uint8], examples: Examples, labels: NDArray[np.int64]) -> None:
    """Raise InvalidInputError if all pictures of a class are the same."""
    for number, label in enumerate(examples.labels):
        of_label = thumbnails[labels == number]
        if (of_label == of_label[0]).all():
            raise InvalidInputError(f"class {label!r}: its {len(of_label)} pictures are all the same")


def _profile(
    profile: Profile, levels: Mapping[Branch, Level], kept: Sequence[Branch], held: HeldOut, examples: Examples
) -> Profile:
    """Return the profile with the useful branches' accuracies for this question; the others are set aside."""
    answers = {branch: held.scores(branch).argmax(axis=1) for branch in levels}
    by_full = answers[profile.space.full]
    measured = {
        branch: Measured(
            branch=str(branch),
            macs=of.macs,
            accuracy=round(of.accuracy, 6),
            agreement=round(float((answers[branch] == by_full).mean()), 6),
            loss=round(of.loss, 4),
        )
        for branch, of in levels.items()
    }
    names = [(example.label, example.name) for example in examples.every]
    return profile.model_copy(
        update={
            "networks": tuple(network.model_copy(update={"scale": 1.0}) for network in profile.networks),
            "branches": tuple(measured[branch] for branch in kept),
            "set_aside": tuple(of for branch, of in measured.items() if branch not in kept),
            "scheduled": (),
            "calibration": Calibration(
                images=len(examples.every),
                labelled=True,
                part="1/1",
                seed=0,
                created=now(),
                version=__version__,
                listing=hashlib.sha256(repr(names).encode()).hexdigest(),
            ),
        }
    )
