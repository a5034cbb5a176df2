"""A camera as the pipeline sees it: the parts of its picture that are recognised, and what is remembered of each."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adainf.control import Decider, Policy
from adainf.control.presence import Presence, PresenceRule
from adainf.recogniser import LabelColumns
from adainf.sensors.motion import Region
from adainfd.answering.answer import ViewAnswer
from adainfd.answering.audit import Audit
from adainfd.capture.cameras.camera import Camera

__all__ = ["CameraSession", "RegionSession", "cropped"]

_SMOOTHING = 0.1


@dataclass(slots=True)
class RegionSession:
    """A part of a camera's picture that is recognised for itself: a region, or all of it.

    region, box: its name and where it lies; None is the whole picture. part: which of the camera's parts it is, as
    its process counts them. counted: the cells of a sketch in which a change counts. around_ms: what a frame takes
    beside its forward pass, smoothed.
    """

    labels: LabelColumns
    decider: Decider
    region: str | None = None
    box: Region | None = None
    part: int = 0
    counted: NDArray[np.bool_] | None = None
    audit: Audit = field(default_factory=Audit)
    presence: Presence = field(default_factory=lambda: Presence(PresenceRule()))
    answer: ViewAnswer | None = None
    since_audit: int = 0
    mirror: bool = True
    around_ms: float = 0.0

    @property
    def policy(self) -> Policy:
        """The policy that the view goes by."""
        return self.decider.policy

    def took_around(self, milliseconds: float) -> None:
        """A frame took so long beside its forward pass."""
        self.around_ms += (milliseconds - self.around_ms) * (_SMOOTHING if self.around_ms else 1.0)


@dataclass(slots=True)
class CameraSession:
    """A camera and its views.

    priority: how often its turn comes, relative to others, when not every frame can be answered. turns: those it had,
    each counted by its priority.
    """

    camera: Camera
    views: tuple[RegionSession, ...]
    priority: float = 1.0
    turns: float = 0.0

    def take_turn(self) -> None:
        """A frame of this camera is answered."""
        self.turns += 1 / self.priority

    @property
    def audits(self) -> dict[str, Audit]:
        """What the audits of its views have found, by the view's key."""
        return {self.key(view): view.audit for view in self.views}

    def key(self, view: RegionSession) -> str:
        """What a trace calls the view."""
        return self.camera.name if view.region is None else f"{self.camera.name}/{view.region}"


def cropped(picture: NDArray[np.uint8], box: Region, seen: float) -> NDArray[np.uint8]:
    """The square around a region of a picture (height, width, 3), as far as there is picture.

    Networks look at a central square: without what lies beside it, a wide region would lose its ends. seen: the side
    of that square relative to the crop's.
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
