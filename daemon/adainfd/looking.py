"""A picture along a branch: prepared, run, and what is said of it then."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.profile import Scheduled
from adainf.schedulers import Choice
from adainf.schedulers.content_aware import ContentAware
from adainfd.answer import Answer, Moments, best_labels
from adainfd.capture.captured import Captured
from adainfd.control import Budget, Costs, Signals
from adainfd.control.evidence import gathered
from adainfd.recogniser import Recogniser
from adainfd.stream import View

__all__ = ["Look", "Looker", "Picture", "Shown", "Way"]

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

    def run(self, looks: Sequence[Look]) -> list[tuple[Answer, Moments]]:
        """What these pictures show; those along branches that are known run in one batch.

        Of a batch's time each is told the part that its branch would take of the time that all would take alone.
        """
        results: dict[int, tuple[NDArray[np.float32], Choice, float]] = {}
        together = [(number, choice) for number, look in enumerate(looks) if (choice := look.way.choice) is not None]
        if len(together) > 1:
            begun = time.monotonic()
            scores = self._recogniser.engine.run(
                [looks[number].prepared for number, _ in together], [choice.branch for _, choice in together]
            )
            seconds = time.monotonic() - begun
            expected = [self._costs.expected(choice.macs_fraction) or choice.macs_fraction for _, choice in together]
            for (number, choice), own_scores, own in zip(together, scores, expected, strict=True):
                results[number] = own_scores, choice, seconds * own / sum(expected)
        for number, look in enumerate(looks):
            if number not in results:
                begun = time.monotonic()
                results[number] = (*look.way.run(look.prepared), time.monotonic() - begun)
        return [self._said(look, *results[number]) for number, look in enumerate(looks)]

    def _said(self, look: Look, scores: NDArray[np.float32], choice: Choice, seconds: float) -> tuple[Answer, Moments]:
        view, captured = look.view, look.shown.captured
        rule, last = view.policy.evidence, view.answer
        asked_for = view.labels.asked_for(scores)
        holds = 0.0 if rule is None or look.signals.change is None else rule.at(look.signals.change)
        before = None if last is None else last.evidence
        mirrored = rule is not None and rule.mirrored
        evidence = gathered(before, asked_for, choice.macs_fraction, holds, mirrored=mirrored)
        labels = best_labels(evidence.log_shares, view.labels, self._top)
        alone = view.labels.index(int(asked_for.argmax()))
        answer = Answer(captured, choice, evidence, labels, alone=alone)
        return answer, Moments(captured.at, look.taken, look.at, look.at + seconds)
