"""Inference: run pictures along branches and turn the results into labels."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.classes.taught import Taught
from adainf.control import Budget, Costs, Policy, Signals
from adainf.control.evidence import Evidence, gathered
from adainf.profile import Scheduled
from adainf.recogniser import LabelColumns, Recogniser
from adainf.schedulers import Choice
from adainf.schedulers.content_aware import ContentAware

__all__ = ["Inference", "Inferred", "Way", "best", "evidence_of"]


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores (classes,) of a picture; with own classes also the pooled features (width,) that they rest on."""

    scores: NDArray[np.float32]
    features: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How a picture is to run: through a network at a resolution. choice: the branch; None if the content decides.

    run: from the prepared picture to what was seen in it and the branch that ran. taught: the classes that it is asked
    for; None for the networks' own.
    """

    network: str
    resolution: int
    choice: Choice | None
    run: Callable[[Any], tuple[Scored, Choice]]
    taught: Taught | None = None

    @property
    def squeezed(self) -> bool:
        """Whether the whole picture fills the input, as in `Engine.prepare`."""
        return self.taught is not None and self.taught.squeezed


@dataclass(frozen=True, slots=True)
class Inferred:
    """A picture's logits (classes,) and the branch that computed them; those of own classes on the reference's scale.

    seconds: of the forward pass. expected_ms: the measured time of all branches that ran in the same round; None if
    times are unknown. features: the pooled ones (width,), if own classes were asked for; None otherwise.
    """

    scores: NDArray[np.float32]
    choice: Choice
    seconds: float
    expected_ms: float | None
    features: NDArray[np.float32] | None = None


class Inference:
    """A runner of pictures along an engine's branches."""

    def __init__(self, recogniser: Recogniser, costs: Costs) -> None:
        self._engine = recogniser.engine
        self._content = recogniser.content
        self._scales = {key: network.scale for key, network in recogniser.profile.of_key.items()}
        self._costs = costs

    def along(self, choice: Choice, taught: Taught | None = None) -> Way:
        """Return the way along a branch that is already chosen, to the networks' classes or to taught ones."""
        branch = choice.branch

        def run(prepared: object) -> tuple[Scored, Choice]:
            return self._see([prepared], [branch], [taught])[0], choice

        return Way(branch.network, branch.resolution, choice, run, taught)

    def within(self, budget: Budget, choice: Choice, taught: Taught | None = None) -> Way:
        """Return the best known way within a budget; choice: the lookup table's.

        The content-aware scheduler was trained for the networks' classes, so it does not decide for taught ones.
        """
        content = self._content if taught is None else None
        level = None if content is None else content.level(budget.fraction)
        if content is None or level is None:
            return self.along(choice, taught)
        return self._by_content(content, level, budget)

    def run(self, ways: Sequence[Way], prepared: Sequence[Any]) -> list[Inferred]:
        """Run each prepared picture its way.

        If the engine can batch, pictures whose branches are known run together, and all of them wait for the last.
        Raises OutOfMemoryError as the engine does.
        """
        engine, found = self._engine, dict[int, Inferred]()
        known = [(number, choice) for number, way in enumerate(ways) if (choice := way.choice) is not None]
        if len(known) > 1 and len(engine.sizes) > 1:
            started = time.monotonic()
            scored = self._see(
                [prepared[number] for number, _ in known],
                [choice.branch for _, choice in known],
                [ways[number].taught for number, _ in known],
            )
            seconds = time.monotonic() - started
            expected_ms = self._expected([choice for _, choice in known])
            for (number, choice), each in zip(known, scored, strict=True):
                found[number] = Inferred(each.scores, choice, seconds, expected_ms, each.features)
        for number, way in enumerate(ways):
            if number not in found:
                started = time.monotonic()
                each, choice = way.run(prepared[number])
                seconds = time.monotonic() - started
                expected_ms = self._costs.expected(choice.macs_fraction)
                found[number] = Inferred(each.scores, choice, seconds, expected_ms, each.features)
        return [found[number] for number in range(len(ways))]

    def _see(
        self, prepared: Sequence[Any], branches: Sequence[Branch], taught: Sequence[Taught | None]
    ) -> list[Scored]:
        """Return the scores of pictures along branches, those of equal branches in one batch as far as they can be."""
        found: dict[int, Scored] = {}
        own = [number for number, head in enumerate(taught) if head is None]
        others = [(number, head) for number, head in enumerate(taught) if head is not None]
        if own:
            scores = self._engine.run([prepared[number] for number in own], [branches[number] for number in own])
            for number, each in zip(own, scores, strict=True):
                found[number] = Scored(self._scaled(each, branches[number]))
        if others:
            features = self._engine.features(
                [prepared[number] for number, _ in others], [branches[number] for number, _ in others]
            )
            for (number, head), seen in zip(others, features, strict=True):
                found[number] = Scored(head.scores(branches[number], seen), seen)
        return [found[number] for number in range(len(prepared))]

    def _scaled(self, scores: NDArray[np.float32], branch: Branch) -> NDArray[np.float32]:
        """Bring scores to the scale of the reference's, so that evidence of different networks can be pooled."""
        scale = self._scales[branch.network]
        return scores if scale == 1 else scores * np.float32(scale)

    def _by_content(self, content: ContentAware, level: Scheduled, budget: Budget) -> Way:
        """Return the way that runs the first block, then the blocks that the scheduler keeps for the picture."""
        engine = self._engine

        def run(prepared: object) -> tuple[Scored, Choice]:
            seen = engine.look(prepared, content.resolution, content.network)
            choice = content.choose(seen.embedding, level, budget.fraction)
            return Scored(self._scaled(engine.complete(seen, choice.branch.keep), choice.branch)), choice

        return Way(content.network, content.resolution, None, run)

    def _expected(self, choices: Sequence[Choice]) -> float | None:
        """Return the milliseconds of a round, in which pictures along one branch form a batch; None if untimed."""
        if not self._costs.milliseconds:
            return None
        groups = Counter(choice.macs_fraction for choice in choices)
        return sum(self._costs.expected(fraction, pictures) or 0.0 for fraction, pictures in groups.items())


def evidence_of(
    scores: NDArray[np.float32], choice: Choice, before: Evidence | None, policy: Policy, signals: Signals
) -> Evidence:
    """Return the evidence after a look, by the policy's rule.

    scores: logits of the requested labels (labels,). before: the evidence so far, None at first.
    """
    rule = policy.evidence
    holds = 0.0 if rule is None or signals.change is None else rule.at(signals.change)
    mirrored = rule is not None and rule.mirrored
    return gathered(before, scores, choice.macs_fraction, holds, mirrored=mirrored)


def best(log_shares: NDArray[np.float64], labels: LabelColumns, top: int) -> list[tuple[str, int, float]]:
    """Return name, class index and probability (four decimals) of the `top` likeliest labels.

    log_shares: natural logarithms of the labels' probabilities (labels,).
    """
    least = np.partition(log_shares, -top)[-top] if top < len(log_shares) else -np.inf
    candidates = np.flatnonzero(log_shares >= least)  # sorting only these is quicker with a thousand labels
    order = candidates[np.argsort(-log_shares[candidates], kind="stable")][:top]
    return [
        (labels.names[position], labels.index(int(position)), round(float(np.exp(log_shares[position])), 4))
        for position in order
    ]
