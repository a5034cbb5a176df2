"""The lines of a trace, as JSON: signals, decisions and times of each frame, and everything they were decided from.

A `header` holds profile, times and policies, and begins a part: the file, a recording appended to it, or the lines
after a gap. A `gap` counts the lines that could not be written before its part. A `view` holds the state of a view
when its first frame in the part was decided, `prepared` the branches that have become ready since, and `policy` the
policies after a reload. The other lines are frames.
"""

from typing import Any, Literal

import msgspec

from adainf.branch import Branch
from adainf.control.controller import Budget, ControllerState
from adainf.control.signals import Signals
from adainf.recogniser import Recogniser
from adainf.schedulers import Choice

__all__ = [
    "SCHEMA",
    "Frame",
    "Header",
    "InForce",
    "LastLook",
    "Line",
    "LostLines",
    "PolicyChange",
    "Prepared",
    "Remembered",
    "SecondLook",
]

SCHEMA = "adainf.trace/1"


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The policies in force, and the questions asked.

    policy: the general one. policies: by view, where it differs from the general one. own: the views whose camera has
    a policy of its own; the other views have the general one, with `[share]` scaled to their part. parts: each view's
    fraction of its policy's `[share]`, 1 if missing. taught: the profile of the classes taught to a view, by view;
    other views ask for the networks' own classes.
    """

    policy: dict[str, Any]
    policies: dict[str, dict[str, Any]] = {}
    own: tuple[str, ...] | None = None
    parts: dict[str, float] = {}
    taught: dict[str, dict[str, Any]] = {}


class Header(InForce, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """The profile, branches, times and policies that decisions were made with.

    branches: the profile's branches that were ready, so could be chosen. times: their median milliseconds on this
    device, empty while unknown; together: the same for batches, by batch size. scheduler_macs: MACs of one decision
    by the run's content-aware scheduler, 0 without one. ready: further branches that taught classes may choose.
    """

    schema: str = SCHEMA
    host: str
    recorded_at: float
    profile: dict[str, Any]
    branches: tuple[str, ...]
    times: dict[str, float]
    together: dict[int, dict[str, float]] = {}
    scheduler_macs: int = 0
    ready: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="prepared"):
    """The branches and times from this line on, in the format of the header."""

    branches: tuple[str, ...]
    times: dict[str, float]
    together: dict[int, dict[str, float]] = {}
    scheduler_macs: int = 0
    ready: tuple[str, ...] = ()

    @classmethod
    def of(cls, recogniser: Recogniser) -> "Prepared":
        """Return the line for a recogniser."""
        return cls(
            branches=recogniser.choosable,
            times=dict(recogniser.times.get(1, {})),
            together={pictures: dict(times) for pictures, times in recogniser.times.items() if pictures > 1},
            scheduler_macs=recogniser.scheduler_macs,
            ready=tuple(sorted(map(str, recogniser.ready))) if recogniser.profile.also else (),
        )


class PolicyChange(InForce, frozen=True, kw_only=True, tag_field="kind", tag="policy"):
    """The policies in force from this line on."""


class LostLines(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="gap"):
    """The number of lines that could not be written before the part that has just begun, and the reason."""

    lost: int
    why: str


class LastLook(msgspec.Struct, frozen=True, kw_only=True):
    """The last look at a view: the frame's number and capture time `at` (monotonic seconds), and the branch that ran.

    looks_here: how often this branch has looked at the same picture. weights: in traces that name no networks.
    """

    number: int
    at: float
    branch: str
    macs: int
    macs_fraction: float
    expected_accuracy: float
    looks_here: int
    weights: Literal["base", "adapted"] = "base"

    @classmethod
    def of(cls, number: int, at: float, choice: Choice, looks_here: int) -> "LastLook":
        """Return the last look along `choice`."""
        return cls(
            number=number,
            at=at,
            branch=str(choice.branch),
            macs=choice.macs,
            macs_fraction=choice.macs_fraction,
            expected_accuracy=choice.expected_accuracy,
            looks_here=looks_here,
        )

    @property
    def choice(self) -> Choice:
        """The branch that ran, with its cost and expected accuracy."""
        branch = Branch.parse(self.branch)
        return Choice(branch, self.macs, self.macs_fraction, self.expected_accuracy)


class Remembered(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="view"):
    """The state of a view before its next frame. camera: as in Frame."""

    camera: str
    controller: ControllerState
    last: LastLook | None

    @property
    def fresh(self) -> bool:
        """Whether the state is still the initial one."""
        return self.last is None and self.controller == ControllerState()


class SecondLook(msgspec.Struct, frozen=True, kw_only=True):
    """A second look, along a better branch, at a frame that was already answered."""

    budget: Budget
    branch: str
    forward_ms: float


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="frame"):
    """One view of a frame: its signals, the decision of the controller at `at` (monotonic seconds), and its times.

    camera: CAMERA, or CAMERA/REGION for a region.

    recognised: number of the camera's last frame before this one that a branch ran on; answer_age: seconds from its
    capture to this frame's; lead: of its best label over the second; all None before the first. forward_ms is 0 if the
    answer was reused. hurried: no second look was possible, because other frames were pending, this one was too old, a
    newer one had overwritten it, or memory was short.

    granted: the budget left by other cameras, None if the full request was granted. others_ms: the part of around_ms
    spent waiting while others were answered. expected_ms: the expected time of the forward pass, including everything
    in the same batch; None if times were unknown.
    """

    camera: str
    number: int
    at: float
    signals: Signals
    recognised: int | None
    answer_age: float | None
    lead: float | None = None
    granted: float | None = None
    budget: Budget
    chosen_by: Literal["lookup", "scheduler", "reuse"]
    branch: str
    forward_ms: float
    expected_ms: float | None = None
    around_ms: float
    others_ms: float = 0.0
    hurried: bool = False
    second_look: SecondLook | None = None

    @property
    def own_around_ms(self) -> float:
        """The milliseconds from capture to publishing, without the forward pass and the waiting for others."""
        return max(0.0, self.around_ms - self.others_ms)


Line = Header | LostLines | Remembered | Frame | PolicyChange | Prepared
