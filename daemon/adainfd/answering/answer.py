"""The answer to a frame, and the result, event and state messages built from it."""

import time
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from adainf.classes.labels import UNKNOWN
from adainf.control import Budget, Signals
from adainf.control.evidence import Evidence
from adainf.debouncing.presence import Happening
from adainf.debouncing.states import StateChange
from adainf.profile import Network
from adainf.recogniser import LabelColumns
from adainf.schedulers import Choice
from adainfd.capture.cameras.account import FrameCounts
from adainfd.capture.cameras.captured import Captured
from adainfd.wire import messages

__all__ = ["Moments", "ViewAnswer", "dropped", "event", "result", "shown", "state"]

_values_of = attrgetter(*messages.ResultSignals.__struct_fields__)  # the signals have the same names


@dataclass(frozen=True, slots=True)
class ViewAnswer:
    """The answer for a view of a frame, with the frame, branch and evidence behind it.

    labels: from all accumulated evidence, best first. alone: index of the best label by this frame alone.
    """

    captured: Captured
    choice: Choice
    evidence: Evidence
    labels: list[messages.Label]
    alone: int


@dataclass(frozen=True, slots=True)
class Moments:
    """The monotonic seconds at which a frame was captured, taken, preprocessed and recognised."""

    captured: float
    taken: float
    prepared: float
    recognised: float

    @property
    def forward(self) -> float:
        """The duration of the forward pass in seconds."""
        return self.recognised - self.prepared

    def timing(self, published: float) -> messages.Timing:
        """Return the milliseconds between these moments and until `published` (monotonic seconds)."""

        def milliseconds(start: float, end: float) -> float:
            return round(1000 * max(0.0, end - start), 3)

        return messages.Timing(
            wait=milliseconds(self.captured, self.taken),
            preprocess=milliseconds(self.taken, self.prepared),
            forward=milliseconds(self.prepared, self.recognised),
            total=milliseconds(self.captured, published),
        )


def shown(answer: ViewAnswer, minimum_score: float) -> dict[int, float]:
    """Return the scores that reach `minimum_score`, keyed by the label's position among the camera's labels."""
    shares = np.minimum(np.exp(answer.evidence.log_shares), 1.0)
    return {int(position): float(shares[position]) for position in np.flatnonzero(shares >= minimum_score)}


def event(
    *, host: str, camera: str, region: str | None, labels: LabelColumns, sequence: int, happening: Happening
) -> messages.Event:
    """Return the event message for a label that appeared, stays or is gone."""
    first, last = happening.first, happening.last
    return messages.Event(
        host=host,
        camera=camera,
        region=region,
        sequence=sequence,
        published_at=time.time(),
        event=happening.kind,
        label=labels.names[happening.label],
        index=labels.index(happening.label),
        score=round(happening.score, 4),
        first=messages.Seen(first.frame, first.wall),
        last=messages.Seen(last.frame, last.wall),
        seconds=round(last.at - first.at, 3),
        why=happening.why,
    )


def state(
    *, host: str, camera: str, region: str | None, labels: LabelColumns, sequence: int, change: StateChange
) -> messages.State:
    """Return the state message for a change of a view's state."""
    return messages.State(
        host=host,
        camera=camera,
        region=region,
        sequence=sequence,
        published_at=time.time(),
        options=list(dict.fromkeys((*labels.names, UNKNOWN))),
        state=change.state,
        score=change.score,
        since=change.since_wall,
        previous=change.previous,
        seconds=None if change.seconds is None else round(change.seconds, 3),
        why=change.why,
    )


def result(
    *,
    host: str,
    camera: str,
    region: str | None,
    sequence: int,
    captured: Captured,
    published_at: float,
    answer: ViewAnswer,
    network: Network,
    chosen_by: messages.ChosenBy,
    expected_accuracy: float,
    budget: Budget,
    signals: Signals,
    timing: messages.Timing,
    account: FrameCounts,
    minimum_score: float,
) -> messages.Result:
    """Return the result message that gives frame `captured` this answer. network: the one that gave it."""
    ran = chosen_by != "reuse"
    choice = answer.choice
    return messages.Result(
        host=host,
        camera=camera,
        region=region,
        sequence=sequence,
        frame=captured.number,
        captured_at=captured.wall,
        published_at=published_at,
        labels=answer.labels,
        none_of_these=answer.labels[0].score < minimum_score,
        looks=answer.evidence.looks,
        budget=messages.ResultBudget(budget.fraction, budget.limited_by),
        plan=messages.Plan(
            choice.branch.path,
            chosen_by,
            choice.macs if ran else 0,
            choice.macs_fraction if ran else 0.0,
            expected_accuracy,
            "base" if network.adapter is None else "adapted",
            network.name,
        ),
        signals=messages.ResultSignals(*_values_of(signals)),
        timing_ms=timing,
        dropped=dropped(account),
    )


def dropped(account: FrameCounts) -> messages.Dropped:
    """Return the dropped frames of an account by cause."""
    return messages.Dropped(
        newer_frame=account.newer_frame,
        too_old=account.too_old,
        model_parked=account.model_parked,
        over_rate=account.over_rate,
        stopped=account.stopped,
        undecodable=account.undecodable,
    )
