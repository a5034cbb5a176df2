"""A camera as the pipeline sees it: the parts of its picture that are recognised, and what is remembered of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adainfd.answer import Answer
from adainfd.capture.camera import Camera
from adainfd.capture.motion import Region
from adainfd.control import ControllerState, Policy
from adainfd.control.audit import Audit
from adainfd.control.presence import Presence, PresenceRule
from adainfd.recogniser import LabelColumns

__all__ = ["Stream", "View", "cropped", "next_in_turn", "shared_out"]


@dataclass(slots=True)
class View:
    """A part of a camera's picture that is recognised for itself: a region, or all of it.

    region, box: its name and where it lies; None is the whole picture. part: which of the camera's parts it is, as
    its process counts them. counted: the cells of a sketch in which a change counts.
    """

    labels: LabelColumns
    policy: Policy
    region: str | None = None
    box: Region | None = None
    part: int = 0
    counted: NDArray[np.bool_] | None = None
    audit: Audit = field(default_factory=Audit)
    controller: ControllerState = field(default_factory=ControllerState)
    presence: Presence = field(default_factory=lambda: Presence(PresenceRule()))
    answer: Answer | None = None
    since_audit: int = 0
    mirror: bool = True


@dataclass(slots=True)
class Stream:
    """A camera and its views.

    priority: how often its turn comes, relative to others, when not every frame can be answered. turns: those it had,
    each counted by its priority.
    """

    camera: Camera
    views: tuple[View, ...]
    priority: float = 1.0
    turns: float = 0.0

    @property
    def audits(self) -> dict[str, Audit]:
        """What the audits of its views have found, by the view's key."""
        return {self.key(view): view.audit for view in self.views}

    def key(self, view: View) -> str:
        """What a trace calls the view."""
        return self.camera.name if view.region is None else f"{self.camera.name}/{view.region}"


def next_in_turn(streams: Sequence[Stream]) -> Stream | None:
    """Of the streams with a frame that waits, the one whose turn it is; None where none waits.

    Each is served in proportion to its priority, and none starves (stride scheduling: Waldspurger and Weihl, 1995).
    Who was away, or had nothing to show, has not saved up turns meanwhile.
    """
    waiting = [stream for stream in streams if stream.camera.newest is not None]
    if not waiting:
        return None
    now = min(stream.turns for stream in waiting)
    for stream in streams:
        stream.turns = max(stream.turns, now)
    chosen = min(waiting, key=lambda stream: stream.turns)
    chosen.turns += 1 / chosen.priority
    return chosen


def shared_out(policy: Policy, views: int) -> Policy:
    """The policy of each of a camera's views: the share of the time that the camera may take is for all of them."""
    if policy.share is None or views == 1:
        return policy
    share = policy.share.model_copy(update={"busy": policy.share.busy / views})
    return policy.model_copy(update={"share": share})


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
