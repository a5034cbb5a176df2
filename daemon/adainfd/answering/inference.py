"""Inference on the pictures of views: prepare, run a branch, and turn scores into an answer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.control import Budget, Costs, Signals
from adainf.inference import Inference, Inferred, Way, best, evidence_of
from adainf.recogniser import Recogniser
from adainf.schedulers import Choice
from adainfd.answering.answer import Moments, ViewAnswer
from adainfd.answering.session import RegionSession
from adainfd.capture.cameras.captured import Captured
from adainfd.wire import messages

__all__ = ["Look", "Looked", "Looker", "Picture", "Shown"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame's picture (height, width, 3). holds: returns whether no newer frame has overwritten it yet."""

    captured: Captured
    picture: Picture
    holds: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Look:
    """A preprocessed picture of a view. taken, at: monotonic seconds at which preprocessing began and ended."""

    view: RegionSession
    shown: Shown
    way: Way
    signals: Signals
    prepared: Any
    taken: float
    at: float


@dataclass(frozen=True, slots=True)
class Looked:
    """The answer of a look, and what it rests on: this picture's scores (labels,), and with own classes its features.

    expected_ms: the expected time of its forward pass, including everything in the same batch; None if unknown.
    """

    answer: ViewAnswer
    moments: Moments
    expected_ms: float | None
    scores: NDArray[np.float32]
    features: NDArray[np.float32] | None


class Looker:
    """A runner of branches on the pictures of views that answers from all accumulated evidence."""

    def __init__(self, recogniser: Recogniser, costs: Costs, top: int) -> None:
        """top: number of labels per answer."""
        self._engine = recogniser.engine
        self._inference = Inference(recogniser, costs)
        self._top = top

    def along(self, choice: Choice, view: RegionSession) -> Way:
        """Return the way along a branch that is already chosen for a view."""
        return self._inference.along(choice, view.taught)

    def within(self, budget: Budget, choice: Choice, view: RegionSession) -> Way:
        """Return the best known way within a budget for a view; choice: the branch from its lookup table."""
        return self._inference.within(budget, choice, view.taught)

    def prepare(self, view: RegionSession, shown: Shown, way: Way, signals: Signals) -> Look | None:
        """Preprocess a view's picture; return None if a newer frame has overwritten it."""
        taken = time.monotonic()
        rule = view.policy.evidence
        view.mirror = rule is not None and rule.mirrored and not view.mirror
        prepared = self._engine.prepare(
            shown.picture, way.resolution, way.network, mirrored=view.mirror, squeezed=way.squeezed
        )
        return Look(view, shown, way, signals, prepared, taken, time.monotonic()) if shown.holds() else None

    def run(self, looks: Sequence[Look]) -> list[Looked]:
        """Run all looks and return their answers, in order, once the last has finished."""
        found = self._inference.run([look.way for look in looks], [look.prepared for look in looks])
        return [self._said(look, inferred) for look, inferred in zip(looks, found, strict=True)]

    def _said(self, look: Look, inferred: Inferred) -> Looked:
        view, captured, last = look.view, look.shown.captured, look.view.answer
        scores = view.labels.asked_for(inferred.scores)
        before = None if last is None else last.evidence
        evidence = evidence_of(scores, inferred.choice, before, view.policy, look.signals)
        labels = [messages.Label(*label) for label in best(evidence.log_shares, view.labels, self._top)]
        alone = view.labels.index(int(scores.argmax()))
        answer = ViewAnswer(captured, inferred.choice, evidence, labels, alone=alone)
        moments = Moments(captured.at, look.taken, look.at, look.at + inferred.seconds)
        return Looked(answer, moments, inferred.expected_ms, scores, inferred.features)
