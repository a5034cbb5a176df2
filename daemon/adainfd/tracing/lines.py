"""The lines of a trace: the signals, decisions and times of each frame, with all that made them, as JSON.

A `header` holds profile, times and policies, and begins a part: the file, a recording that was appended to it, or the
lines after a gap. A `gap` counts the lines that could not be written before its part. A `view` holds what was
remembered of a view when its first frame in the part was decided, `prepared` the branches that became ready meanwhile,
`policy` the policies after a reload. The others are frames.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import Branch
from adainf.control.controller import Budget, ControllerState
from adainf.control.signals import Signals
from adainf.profile import WeightSet
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
    "read",
]

SCHEMA = "adainf.trace/1"
_LONGEST_LINE = 1 << 23
# The last two: of what is nested deeply, and of text that is not UTF-8.
_MALFORMED = (msgspec.DecodeError, RecursionError, ValueError)


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The policies in force.

    policy: the general one. policies: of each view that goes by another. own: those among them that were given a
    policy of their own; the others go by the general one, cut to their part. parts: how much of a policy's `[share]` is
    each view's, 1 where it is not named.
    """

    policy: dict[str, Any]
    policies: dict[str, dict[str, Any]] = {}
    own: tuple[str, ...] | None = None
    parts: dict[str, float] = {}


class Header(InForce, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """What the decisions were made with.

    branches: those of the profile that were ready, and so could be chosen. times: their median milliseconds on this
    device, empty while unknown; together: of several pictures together, by their number. scheduler_macs: of a decision
    of the run's content-aware scheduler, 0 without one.
    """

    schema: str = SCHEMA
    host: str
    recorded_at: float
    profile: dict[str, Any]
    branches: tuple[str, ...]
    times: dict[str, float]
    together: dict[int, dict[str, float]] = {}
    scheduler_macs: int = 0


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="prepared"):
    """From here on these branches were ready, with these times, as the header has them."""

    branches: tuple[str, ...]
    times: dict[str, float]
    together: dict[int, dict[str, float]] = {}
    scheduler_macs: int = 0

    @classmethod
    def of(cls, recogniser: Recogniser) -> "Prepared":
        """What recognises now."""
        return cls(
            branches=recogniser.choosable,
            times=dict(recogniser.times.get(1, {})),
            together={pictures: dict(times) for pictures, times in recogniser.times.items() if pictures > 1},
            scheduler_macs=recogniser.scheduler_macs,
        )


class PolicyChange(InForce, frozen=True, kw_only=True, tag_field="kind", tag="policy"):
    """From here on other policies were in force."""


class LostLines(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="gap"):
    """So many lines could not be written before the part that has just begun."""

    lost: int
    why: str


class LastLook(msgspec.Struct, frozen=True, kw_only=True):
    """The last look at a view: of which frame, captured when (monotonic seconds), along which branch.

    looks_here: how often this branch has looked at this very picture.
    """

    number: int
    at: float
    branch: str
    macs: int
    macs_fraction: float
    expected_accuracy: float
    weights: WeightSet
    looks_here: int

    @classmethod
    def of(cls, number: int, at: float, choice: Choice, looks_here: int) -> "LastLook":
        """The last look along `choice`."""
        return cls(
            number=number,
            at=at,
            branch=str(choice.branch),
            macs=choice.macs,
            macs_fraction=choice.macs_fraction,
            expected_accuracy=choice.expected_accuracy,
            weights=choice.weights,
            looks_here=looks_here,
        )

    @property
    def choice(self) -> Choice:
        """The branch."""
        branch = Branch.parse(self.branch)
        return Choice(branch, self.macs, self.macs_fraction, self.expected_accuracy, self.weights)


class Remembered(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="view"):
    """What was remembered of a view before its next frame. camera: as of a frame."""

    camera: str
    controller: ControllerState
    last: LastLook | None

    @property
    def fresh(self) -> bool:
        """Whether that is nothing."""
        return self.last is None and self.controller == ControllerState()


class SecondLook(msgspec.Struct, frozen=True, kw_only=True):
    """A better look at a frame that was answered already."""

    budget: Budget
    branch: str
    forward_ms: float


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="frame"):
    """One frame: when the controller was asked (monotonic seconds), with what, what it said, and how long it took.

    camera: its name, of a region followed by /REGION.

    recognised: number of the last frame of this camera that a branch ran on before this one; answer_age: seconds since
    that frame was captured; lead: of its best label over the next; None before the first. forward_ms is 0 where the
    answer was reused. hurried: a second look was not possible: other frames waited when it was answered, a newer one
    took its place, or there was no memory.

    granted: the budget that other cameras had left it, None where that was all it asked for. others_ms: of around_ms,
    how long it waited while others were answered. expected_ms: what the forward pass should have taken, with all frames
    that ran together with it; None where times were not known.
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
        """Milliseconds from capture to publishing beside the forward pass and what was done for others."""
        return max(0.0, self.around_ms - self.others_ms)


Line = Header | LostLines | Remembered | Frame | PolicyChange | Prepared


def read(path: Path) -> tuple[Header, Iterator[Line | str]]:
    """The first header of a trace and the lines after it; text among them says where and why the trace breaks off.

    It goes on with the next part, where there is one. Raises InvalidInputError on a file that is missing, no trace, or
    of another version.
    """
    files.check_file(path, "trace")
    lines = _read(path)
    try:
        header = msgspec.json.decode(next(lines, b""), type=Header)
    except _MALFORMED as error:
        raise InvalidInputError(f"trace {path}: is not a trace of `adainfd run --record` ({one_line(error)})") from None
    if header.schema != SCHEMA:
        raise InvalidInputError(f"trace {path}: schema is {header.schema!r}; this program reads {SCHEMA!r}")
    return header, _decoded(lines)


def _read(path: Path) -> Iterator[bytes]:
    """The lines of a file, one after the other: a day's are too many to hold."""
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"trace {path}: cannot be read ({why})") from None


def _decoded(lines: Iterator[bytes]) -> Iterator[Line | str]:
    decode = msgspec.json.Decoder(Line).decode
    whole = True
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            decoded = decode(line)
        except _MALFORMED as error:
            if whole:
                yield f"breaks off at line {number}: {one_line(error, 120)}"
            whole = False
            continue
        whole = whole or isinstance(decoded, Header)
        if whole:
            yield decoded
