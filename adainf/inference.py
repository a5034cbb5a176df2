"""Pictures along branches: how each is to run, and what the runs give."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.control import Budget, Costs, Policy, Signals
from adainf.control.evidence import Evidence, gathered
from adainf.profile import Scheduled
from adainf.recogniser import LabelColumns, Recogniser
from adainf.schedulers import Choice
from adainf.schedulers.content_aware import ContentAware

__all__ = ["Inference", "Inferred", "Way", "best", "evidence_of"]


@dataclass(frozen=True, slots=True)
class Way:
    """How a picture is to run. choice: the branch; None where the picture itself decides.

    run: from the prepared picture to scores (classes,) and the branch that ran.
    """

    resolution: int
    choice: Choice | None
    run: Callable[[Any], tuple[NDArray[np.float32], Choice]]


@dataclass(frozen=True, slots=True)
class Inferred:
    """The scores (classes,) of a picture, before softmax, and the branch that gave them.

    seconds: of the forward pass. expected_ms: the measured time of all branches that ran together with it; None where
    times are unknown.
    """

    scores: NDArray[np.float32]
    choice: Choice
    seconds: float
    expected_ms: float | None


class Inference:
    """Runs pictures along branches."""

    def __init__(self, recogniser: Recogniser, costs: Costs) -> None:
        self._engine = recogniser.engine
        self._content = recogniser.content
        self._costs = costs

    def along(self, choice: Choice) -> Way:
        """The way along a branch that is chosen already."""
        engine, branch = self._engine, choice.branch
        return Way(branch.resolution, choice, lambda prepared: (engine.run([prepared], [branch])[0], choice))

    def within(self, budget: Budget, choice: Choice) -> Way:
        """The best way known within a budget; choice: the lookup table's."""
        content = self._content
        level = None if content is None else content.level(budget.fraction)
        return self.along(choice) if content is None or level is None else self._by_content(content, level, budget)

    def run(self, ways: Sequence[Way], prepared: Sequence[Any]) -> list[Inferred]:
        """Run each prepared picture its way.

        Where the engine runs several together, those along branches that are known do, and all of them wait for the
        last. Raises OutOfMemoryError as the engine does.
        """
        engine, found = self._engine, dict[int, Inferred]()
        known = [(number, choice) for number, way in enumerate(ways) if (choice := way.choice) is not None]
        if len(known) > 1 and len(engine.sizes) > 1:
            begun = time.monotonic()
            scores = engine.run([prepared[number] for number, _ in known], [choice.branch for _, choice in known])
            seconds = time.monotonic() - begun
            expected_ms = self._expected([choice for _, choice in known])
            for (number, choice), own_scores in zip(known, scores, strict=True):
                found[number] = Inferred(own_scores, choice, seconds, expected_ms)
        for number, way in enumerate(ways):
            if number not in found:
                begun = time.monotonic()
                own_scores, choice = way.run(prepared[number])
                seconds = time.monotonic() - begun
                found[number] = Inferred(own_scores, choice, seconds, self._costs.expected(choice.macs_fraction))
        return [found[number] for number in range(len(ways))]

    def _by_content(self, content: ContentAware, level: Scheduled, budget: Budget) -> Way:
        """The first block runs, and then those that the scheduler keeps for this picture."""
        engine = self._engine

        def run(prepared: object) -> tuple[NDArray[np.float32], Choice]:
            seen = engine.look(prepared, content.resolution, content.weights)
            choice = content.choose(seen.embedding, level, budget.fraction)
            return engine.complete(seen, choice.branch.keep), choice

        return Way(content.resolution, None, run)

    def _expected(self, choices: Sequence[Choice]) -> float | None:
        """Milliseconds of all that run together; those along one branch are a group."""
        if not self._costs.milliseconds:
            return None
        groups = Counter(choice.macs_fraction for choice in choices)
        return sum(self._costs.expected(fraction, pictures) or 0.0 for fraction, pictures in groups.items())


def evidence_of(
    scores: NDArray[np.float32], choice: Choice, before: Evidence | None, policy: Policy, signals: Signals
) -> Evidence:
    """The evidence after a look, by the policy's rule.

    scores: of the labels asked for (labels,), before softmax. before: the evidence until then, None at first.
    """
    rule = policy.evidence
    holds = 0.0 if rule is None or signals.change is None else rule.at(signals.change)
    mirrored = rule is not None and rule.mirrored
    return gathered(before, scores, choice.macs_fraction, holds, mirrored=mirrored)


def best(log_shares: NDArray[np.float64], labels: LabelColumns, top: int) -> list[tuple[str, int, float]]:
    """Name, class index and probability of the `top` likeliest labels.

    log_shares: natural logarithms of the labels' probabilities (labels,).
    """
    least = np.partition(log_shares, -top)[-top] if top < len(log_shares) else -np.inf
    among = np.flatnonzero(log_shares >= least)  # to sort these alone is quicker, where there are a thousand
    order = among[np.argsort(-log_shares[among], kind="stable")][:top]
    return [
        (labels.names[position], labels.index(int(position)), round(float(np.exp(log_shares[position])), 4))
        for position in order
    ]
