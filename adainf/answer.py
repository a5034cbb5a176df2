"""The answer to a picture: its labels, and the compute spent on them."""

from dataclasses import dataclass

from adainf.branch import Branch
from adainf.control import Budget, Signals

__all__ = ["Answer", "CallTiming", "ScoredLabel"]


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label, its index among the model's classes, and its probability (0..1).

    >>> best = model(picture).labels[0]
    >>> print(f"{best.name} (class {best.index}): {best.score:.0%}")
    """

    name: str
    index: int
    score: float


@dataclass(frozen=True, slots=True)
class CallTiming:
    """Milliseconds: preparing the picture, the forward pass, and the whole call.

    >>> timing = model(picture).timing
    >>> print(f"{timing.total:.1f} ms, {timing.forward:.1f} ms of them in the network")
    """

    prepare: float
    forward: float
    total: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The labels of a picture, and the compute spent on them.

    labels: likeliest first, by the evidence of all the stream's pictures of the scene. branch: the one that answered.
    budget: the rule `budget.limited_by` allowed `budget.fraction` of the full branch's MACs. reused: no branch ran,
    because the last answer still stands. macs_fraction: the share of the full branch's MACs that was spent. signals:
    the controller's inputs.

    >>> answer = model(picture)
    >>> for label in answer.labels:
    ...     print(f"{label.name}: {label.score:.0%}")
    >>> print(answer.branch, answer.macs_fraction, answer.timing.total)
    """

    labels: tuple[ScoredLabel, ...]
    branch: Branch
    budget: Budget
    reused: bool
    macs_fraction: float
    signals: Signals
    timing: CallTiming
