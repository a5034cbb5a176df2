"""From labels to events: what appears in a picture, stays and goes, without the flicker of single frames. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["EventKind", "Happening", "Presence", "PresenceRule", "Sighting", "WhyGone"]

EventKind = Literal["appeared", "stays", "gone"]
WhyGone = Literal["not_seen", "no_pictures", "stopped"]


@dataclass(frozen=True, slots=True)
class PresenceRule:
    """When a label counts as there.

    minimum_score: that it must reach. appear_seconds: for how long each frame must show it until it has appeared.
    gone_seconds: after which it is gone, if no frame has shown it. stay_seconds: after which it is told again that it
    is still there.
    """

    minimum_score: float = 0.5
    appear_seconds: float = 0.5
    gone_seconds: float = 2.0
    stay_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A frame. at: monotonic seconds; wall: Unix time."""

    frame: int
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class Happening:
    """Label `label` (its position among the camera's) appeared, stays or is gone.

    first, last: the frames that showed it; score: the highest until now. why: of one that is gone.
    """

    kind: EventKind
    label: int
    first: Sighting
    last: Sighting
    score: float
    why: WhyGone | None = None


@dataclass(slots=True)
class _Track:
    """A label that is shown: told_at: when it was last told that it is there, None while it is not yet sure."""

    first: Sighting
    last: Sighting
    score: float
    told_at: float | None = None

    def happening(self, kind: EventKind, label: int, why: WhyGone | None = None) -> Happening:
        return Happening(kind, label, self.first, self.last, self.score, why)


class Presence:
    """What is there in one view of a camera. For each label: appeared, stays as often as it may, gone; and again."""

    def __init__(self, rule: PresenceRule) -> None:
        self.rule = rule
        self._tracks: dict[int, _Track] = {}

    def see(self, frame: Sighting, scores: Mapping[int, float]) -> list[Happening]:
        """Take in a frame; scores: of the labels that it shows, those that reach the minimum."""
        happenings: list[Happening] = []
        for label, track in list(self._tracks.items()):
            if label in scores:
                continue
            if track.told_at is None:
                del self._tracks[label]
            elif frame.at - track.last.at >= self.rule.gone_seconds:
                happenings += self._end([label], "not_seen")
        for label, score in scores.items():
            track = self._tracks.setdefault(label, _Track(frame, frame, score))
            track.last, track.score = frame, max(track.score, score)
            if track.told_at is None and frame.at - track.first.at >= self.rule.appear_seconds:
                track.told_at = frame.at
                happenings.append(track.happening("appeared", label))
            elif track.told_at is not None and frame.at - track.told_at >= self.rule.stay_seconds:
                track.told_at = frame.at
                happenings.append(track.happening("stays", label))
        return happenings

    @property
    def shown(self) -> dict[int, float]:
        """The labels that have appeared and are not gone, with their scores, the highest first."""
        there = {label: track.score for label, track in self._tracks.items() if track.told_at is not None}
        return dict(sorted(there.items(), key=lambda item: -item[1]))

    def blind(self, now: float) -> list[Happening]:
        """No pictures come: what has not been seen for so long is gone."""
        unseen = [label for label, t in self._tracks.items() if now - t.last.at >= self.rule.gone_seconds]
        return self._end(unseen, "no_pictures")

    def stop(self) -> list[Happening]:
        """Nobody looks any more."""
        return self._end(list(self._tracks), "stopped")

    def _end(self, labels: Iterable[int], why: WhyGone) -> list[Happening]:
        ended = [(label, self._tracks.pop(label)) for label in labels]
        return [track.happening("gone", label, why) for label, track in ended if track.told_at is not None]
