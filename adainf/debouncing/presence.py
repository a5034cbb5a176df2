"""Turn per-frame labels into events: appeared, stays, gone, without the flicker of single frames. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["EventKind", "Happening", "Presence", "PresenceRule", "Sighting", "WhyGone"]

EventKind = Literal["appeared", "stays", "gone"]
WhyGone = Literal["not_seen", "no_pictures", "stopped"]


@dataclass(frozen=True, slots=True)
class PresenceRule:
    """When a label counts as present.

    minimum_score: the score it must reach. appear_seconds: how long every frame must show it before it has appeared.
    gone_seconds: how long no frame may show it before it is gone. stay_seconds: the interval between reports that it
    is still present.
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
    """An event of label `label`, an index into the camera's labels.

    first, last: the frames that showed it; score: its highest so far. why: the reason it is gone, else None.
    """

    kind: EventKind
    label: int
    first: Sighting
    last: Sighting
    score: float
    why: WhyGone | None = None


@dataclass(slots=True)
class _Track:
    """A visible label. reported_at: when its presence was last reported; None until it has appeared."""

    first: Sighting
    last: Sighting
    score: float
    reported_at: float | None = None

    def happening(self, kind: EventKind, label: int, why: WhyGone | None = None) -> Happening:
        return Happening(kind, label, self.first, self.last, self.score, why)


class Presence:
    """Labels present in one view of a camera. Each appears, stays (repeatedly) and goes, and may do so again."""

    def __init__(self, rule: PresenceRule) -> None:
        self.rule = rule
        self._tracks: dict[int, _Track] = {}

    def see(self, frame: Sighting, scores: Mapping[int, float]) -> list[Happening]:
        """Process a frame and return its events; scores: of the labels in it that reach the minimum score."""
        happenings: list[Happening] = []
        for label, track in list(self._tracks.items()):
            if label in scores:
                continue
            if track.reported_at is None:
                del self._tracks[label]
            elif frame.at - track.last.at >= self.rule.gone_seconds:
                happenings += self._end([label], "not_seen")
        for label, score in scores.items():
            track = self._tracks.setdefault(label, _Track(frame, frame, score))
            track.last, track.score = frame, max(track.score, score)
            if track.reported_at is None and frame.at - track.first.at >= self.rule.appear_seconds:
                track.reported_at = frame.at
                happenings.append(track.happening("appeared", label))
            elif track.reported_at is not None and frame.at - track.reported_at >= self.rule.stay_seconds:
                track.reported_at = frame.at
                happenings.append(track.happening("stays", label))
        return happenings

    @property
    def shown(self) -> dict[int, float]:
        """Labels that have appeared and are not gone, with their scores, highest first."""
        there = {label: track.score for label, track in self._tracks.items() if track.reported_at is not None}
        return dict(sorted(there.items(), key=lambda item: -item[1]))

    def blind(self, now: float) -> list[Happening]:
        """Return the events while no pictures arrive: labels not seen for `gone_seconds` are gone."""
        unseen = [label for label, t in self._tracks.items() if now - t.last.at >= self.rule.gone_seconds]
        return self._end(unseen, "no_pictures")

    def stop(self) -> list[Happening]:
        """Return the events when the view ends: every label that had appeared is gone."""
        return self._end(list(self._tracks), "stopped")

    def _end(self, labels: Iterable[int], why: WhyGone) -> list[Happening]:
        ended = [(label, self._tracks.pop(label)) for label in labels]
        return [track.happening("gone", label, why) for label, track in ended if track.reported_at is not None]
