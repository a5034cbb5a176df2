"""A picture along a branch: prepared, run, and what is said of it then."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.control import Budget, Costs, Signals
from adainf.control.evidence import gathered
from adainf.profile import Scheduled
from adainf.schedulers import Choice
from adainf.schedulers.content_aware import ContentAware
from adainfd.answering.answer import Answer, Moments, best_labels
from adainfd.answering.session import View
from adainfd.capture.cameras.captured import Captured
from adainfd.model.recogniser import Recogniser

__all__ = ["Look", "Looked", "Looker", "Picture", "Shown", "Way"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture (height, width, 3) of a frame. holds: whether it has been whole until now."""

    captured: Captured
    picture: Picture
    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Way:
    """How a picture is to be answered. choice: the branch, None where what it shows decides that.

    run: from what is prepared at the resolution to scores (labels,) and what ran.
    """

    resolution: int
    choice: Choice | None
    run: Callable[[Any], tuple[NDArray[np.float32], Choice]]


@dataclass(frozen=True, slots=True)
class Look:
    """A view's picture, ready to run. taken, at: monotonic seconds at which preparing began and ended."""

    view: View
    shown: Shown
    way: Way
    signals: Signals
    prepared: Any
    taken: float
    at: float


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look has found.

    expected_ms: what its forward pass should have taken, with all that ran together with it; None if unknown.
    """

    answer: Answer
    moments: Moments
    expected_ms: float | None


class Looker:
    """Runs pictures along branches, and says what they show by all the evidence."""

    def __init__(self, recogniser: Recogniser, costs: Costs, top: int) -> None:
        """top: labels an answer."""
        self._recogniser = recogniser
        self._costs = costs
        self._top = top

    def along(self, choice: Choice) -> Way:
        """The way along a branch that is chosen already."""
        engine, branch = self._recogniser.engine, choice.branch
        return Way(branch.resolution, choice, lambda prepared: (engine.run([prepared], [branch])[0], choice))

    def within(self, budget: Budget, choice: Choice) -> Way:
        """The best way known within a budget; choice: the lookup table's."""
        content = self._recogniser.content
        level = None if content is None else content.level(budget.fraction)
        return self.along(choice) if content is None or level is None else self._by_content(content, level, budget)

    def _by_content(self, content: ContentAware, level: Scheduled, budget: Budget) -> Way:
        """The first block runs, and then those that the scheduler keeps for this picture."""
        engine = self._recogniser.engine

        def run(prepared: object) -> tuple[NDArray[np.float32], Choice]:
            seen = engine.look(prepared, content.resolution, content.weights)
            choice = content.choose(seen.embedding, level, budget.fraction)
            return engine.complete(seen, choice.branch.keep), choice

        return Way(content.resolution, None, run)

    def prepare(self, view: View, shown: Shown, way: Way, signals: Signals) -> Look | None:
        """Make a view's picture ready; None where a newer frame has overwritten it."""
        taken = time.monotonic()
        rule = view.policy.evidence
        view.mirror = rule is not None and rule.mirrored and not view.mirror
        prepared = self._recogniser.engine.prepare(shown.picture, way.resolution, mirrored=view.mirror)
        return Look(view, shown, way, signals, prepared, taken, time.monotonic()) if shown.holds() else None

    def run(self, looks: Sequence[Look]) -> list[Looked]:
        """What these pictures show.

        Where the engine runs several together, those along branches that are known do; all of them wait for the last.
        """
        engine, results = self._recogniser.engine, dict[int, _Ran]()
        known = [(number, choice) for number, look in enumerate(looks) if (choice := look.way.choice) is not None]
        if len(known) > 1 and len(engine.sizes) > 1:
            begun = time.monotonic()
            scores = engine.run([looks[number].prepared for number, _ in known], [choice.branch for _, choice in known])
            seconds = time.monotonic() - begun
            expected_ms = self._expected([choice for _, choice in known])
            for (number, choice), own_scores in zip(known, scores, strict=True):
                results[number] = _Ran(own_scores, choice, seconds, expected_ms)
        for number, look in enumerate(looks):
            if number not in results:
                begun = time.monotonic()
                own_scores, choice = look.way.run(look.prepared)
                seconds = time.monotonic() - begun
                results[number] = _Ran(own_scores, choice, seconds, self._costs.expected(choice.macs_fraction))
        return [self._said(look, results[number]) for number, look in enumerate(looks)]

    def _expected(self, choices: Sequence[Choice]) -> float | None:
        """Milliseconds of all that run together; those along one branch are a group."""
        if not self._costs.milliseconds:
            return None
        groups = Counter(choice.macs_fraction for choice in choices)
        return sum(self._costs.expected(fraction, pictures) or 0.0 for fraction, pictures in groups.items())

    def _said(self, look: Look, ran: "_Ran") -> Looked:
        view, captured, scores, choice = look.view, look.shown.captured, ran.scores, ran.choice
        rule, last = view.policy.evidence, view.answer
        asked_for = view.labels.asked_for(scores)
        holds = 0.0 if rule is None or look.signals.change is None else rule.at(look.signals.change)
        before = None if last is None else last.evidence
        mirrored = rule is not None and rule.mirrored
        evidence = gathered(before, asked_for, choice.macs_fraction, holds, mirrored=mirrored)
        labels = best_labels(evidence.log_shares, view.labels, self._top)
        alone = view.labels.index(int(asked_for.argmax()))
        answer = Answer(captured, choice, evidence, labels, alone=alone)
        return Looked(answer, Moments(captured.at, look.taken, look.at, look.at + ran.seconds), ran.expected_ms)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a forward pass gave: scores (labels,), along which branch, within how long, and what was expected."""

    scores: NDArray[np.float32]
    choice: Choice
    seconds: float
    expected_ms: float | None
