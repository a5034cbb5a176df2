"""Turn per-frame answers into the state of a view, such as a gate that is open, without the flicker of single frames.
Pure."""

from dataclasses import dataclass, replace

from adainf.classes.labels import UNKNOWN
from adainf.debouncing.presence import PresenceRule, Sighting, WhyGone

__all__ = ["StateChange", "StateTracker"]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a view's state.

    state: the new one; None while there is none, and `why` gives the reason: none has held for long enough yet, no
    pictures arrive, or the view ends. score: the highest of the frames that showed it; None where none is shown
    clearly. since: the first frame that showed it; of None, the last frame. previous: the state before, which lasted
    for `seconds`; both are None where there was none.
    """

    state: str | None
    score: float | None = None
    since: Sighting | None = None
    previous: str | None = None
    seconds: float | None = None
    why: WhyGone | None = None

    @property
    def since_wall(self) -> float | None:
        """`since` as Unix time."""
        return None if self.since is None else self.since.wall


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A label that every look has shown clearly since `first`, with its highest score."""

    label: str
    first: Sighting
    score: float


class StateTracker:
    """The state of one view: the label that every look shows clearly for `appear_seconds`.

    A look shows its likeliest label clearly where that reaches `minimum_score`. A view that has not clearly shown its
    state for `gone_seconds`, and no other label for `appear_seconds`, is `unknown`. A frame that reuses the answer to
    an earlier one changes nothing, since a mistaken look would confirm itself.
    """

    def __init__(self, rule: PresenceRule) -> None:
        """rule: the times and the minimum score, as for events."""
        self._rule = rule
        self._last: Sighting | None = None
        self._candidate: _Candidate | None = None
        # The first of the latest looks, none of which has shown the state clearly.
        self._missing: Sighting | None = None
        self.current = StateChange(None, why="not_seen")
        """The latest change; its score is the highest until now."""

    def see(self, frame: Sighting, label: str, score: float, *, reused: bool = False) -> StateChange | None:
        """Process a frame with its likeliest label, and return the change of state that follows from it, if any.

        reused: the label is that of an earlier frame, and nobody has looked at this one.
        """
        if self._last is not None and frame.at < self._last.at:
            self._candidate = self._missing = None  # the clock went backwards: what counts begins anew
        self._last = frame
        if reused:
            return None
        self._candidate = self._following(frame, label, score) if score >= self._rule.minimum_score else None
        if self._candidate is not None and label == self.current.state:
            self._missing = None
            self.current = replace(self.current, score=max(score, self.current.score or 0.0))
            return None
        self._missing = self._missing or frame
        if self._candidate is not None and frame.at - self._candidate.first.at >= self._rule.appear_seconds:
            return self._become(label, self._candidate.first, self._candidate.score)
        if self.current.state != UNKNOWN and frame.at - self._missing.at >= self._rule.gone_seconds:
            return self._become(UNKNOWN, self._missing, None)
        return None

    def blind(self, now: float) -> StateChange | None:
        """Return the change while no pictures arrive: after `gone_seconds` there is no state."""
        if self._last is None or now - self._last.at < self._rule.gone_seconds:
            return None
        return self._end("no_pictures")

    def stop(self) -> StateChange | None:
        """Return the change when the view ends: there is no state."""
        return self._end("stopped")

    def _following(self, frame: Sighting, label: str, score: float) -> _Candidate:
        before = self._candidate
        if before is None or before.label != label:
            return _Candidate(label, frame, score)
        return replace(before, score=max(score, before.score))

    def _become(self, state: str, since: Sighting, score: float | None) -> StateChange:
        self._missing = None
        return self._change(StateChange(state, score, since))

    def _end(self, why: WhyGone) -> StateChange | None:
        self._candidate = self._missing = None
        return None if self.current.state is None else self._change(StateChange(None, since=self._last, why=why))

    def _change(self, change: StateChange) -> StateChange:
        """Take up a change, with the state before it and how long that lasted."""
        before = self.current
        if before.state is not None and before.since is not None and change.since is not None:
            seconds = max(0.0, change.since.at - before.since.at)
            change = replace(change, previous=before.state, seconds=seconds)
        self.current = change
        return change
