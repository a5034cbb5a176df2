"""A camera as the pipeline sees it: the recognised regions of its picture, and the state kept for each."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adainf.classes.taught import Taught
from adainf.control import Decider, Policy
from adainf.debouncing.presence import Presence, PresenceRule
from adainf.debouncing.states import StateTracker
from adainf.recogniser import LabelColumns
from adainf.sensors.motion import Region
from adainfd.answering.answer import ViewAnswer
from adainfd.answering.audit import Audit
from adainfd.capture.cameras.camera import Camera
from adainfd.tracing.lines import LastLook, Remembered

__all__ = ["CameraSession", "RegionSession", "cropped"]

_SMOOTHING = 0.1


@dataclass(slots=True)
class RegionSession:
    """A view: a region of a camera's picture, or all of it, that is recognised independently.

    region, box: its name and position; None is the whole picture. part: its index among the camera's regions, as in
    `Captured.motions`. taught: the classes that it is asked for; None for the networks' own. counted: mask of the
    sketch cells in which a change counts. states: tracks the state of a view with taught classes; None without.
    since_audit: frames since the last audit. mirror: whether the last look was mirrored. around_ms: exponentially
    smoothed milliseconds per frame outside the forward pass.
    """

    labels: LabelColumns
    decider: Decider
    region: str | None = None
    box: Region | None = None
    part: int = 0
    taught: Taught | None = None
    counted: NDArray[np.bool_] | None = None
    audit: Audit = field(default_factory=Audit)
    presence: Presence = field(default_factory=lambda: Presence(PresenceRule()))
    states: StateTracker | None = None
    answer: ViewAnswer | None = None
    since_audit: int = 0
    mirror: bool = True
    around_ms: float = 0.0

    @property
    def policy(self) -> Policy:
        """The policy in force for the view."""
        return self.decider.policy

    def ask(self, labels: LabelColumns, taught: Taught | None) -> None:
        """Ask for other classes from now on; nothing that was known of the view holds for them."""
        self.labels = labels if taught is None else LabelColumns.of_taught(taught)
        self.taught, self.answer = taught, None
        self.presence = Presence(self.presence.rule)
        self.states = None if taught is None else StateTracker(self.presence.rule)
        self.decider.last = None

    def took_around(self, milliseconds: float) -> None:
        """Update `around_ms` with a frame that took `milliseconds` outside its forward pass."""
        self.around_ms += (milliseconds - self.around_ms) * (_SMOOTHING if self.around_ms else 1.0)


@dataclass(slots=True)
class CameraSession:
    """A camera and its views.

    priority: its share of turns relative to other cameras when not every frame can be answered. turns: its virtual
    time, which grows by 1/priority with each turn.
    """

    camera: Camera
    views: tuple[RegionSession, ...]
    priority: float = 1.0
    turns: float = 0.0

    def take_turn(self) -> None:
        """Advance the virtual time by one turn."""
        self.turns += 1 / self.priority

    @property
    def audits(self) -> dict[str, Audit]:
        """The audits of its views by view key."""
        return {self.key(view): view.audit for view in self.views}

    def key(self, view: RegionSession) -> str:
        """Return the name of a view in traces: CAMERA or CAMERA/REGION."""
        return self.camera.name if view.region is None else f"{self.camera.name}/{view.region}"

    def remembered(self, view: RegionSession) -> Remembered:
        """Return the state of a view as traces record it."""
        answer, last = view.answer, None
        if answer is not None:
            last = LastLook.of(answer.captured.number, answer.captured.at, answer.choice, view.decider.looks_here)
        return Remembered(camera=self.key(view), controller=view.decider.controller, last=last)


def cropped(picture: NDArray[np.uint8], box: Region, seen: float) -> NDArray[np.uint8]:
    """Return the square crop around a region of a picture (height, width, 3), within the picture's bounds.

    Networks see only a central square of their input, so cropping a wide region tightly would cut off its ends. seen:
    the side of that central square relative to the crop's side.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    side = max(1, round(max(right - left, bottom - top) / seen))
    rows = _span((top + bottom) / 2, side, height)
    return picture[rows, _span((left + right) / 2, side, width)]


def _span(middle: float, side: int, size: int) -> slice:
    side = min(side, size)
    start = min(max(0, round(middle - side / 2)), size - side)
    return slice(start, start + side)
