"""Traces: the signals, decisions and times of each frame, with all that made them, for `adainfd replay`.

A trace is JSON lines. The first holds profile, times and policy; a line of kind `prepared` tells which branches became
ready while frames were answered, one of kind `policy` follows a reload; the others are frames.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import msgspec

from adainf import files
from adainf.errors import InvalidInputError, one_line
from adainfd.control.controller import Budget
from adainfd.control.signals import Signals

__all__ = [
    "SCHEMA",
    "Frame",
    "Header",
    "NoTrace",
    "PolicyChange",
    "Prepared",
    "Recorder",
    "SecondLook",
    "TraceWriter",
    "read",
]

SCHEMA = "adainf.trace/1"
_MOST_BYTES = 1 << 36


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """What the decisions were made with.

    branches: those of the profile that were ready, and so could be chosen. times: their median milliseconds on this
    device, empty while unknown. scheduler_macs: of a decision of the run's content-aware scheduler, 0 without one.
    policies: of views that have their own.
    """

    schema: str = SCHEMA
    host: str
    recorded_at: float
    policy: dict[str, Any]
    profile: dict[str, Any]
    branches: tuple[str, ...]
    times: dict[str, float]
    scheduler_macs: int = 0
    policies: dict[str, dict[str, Any]] = {}


class Prepared(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="prepared"):
    """From here on these branches were ready, with these times, as the header has them."""

    branches: tuple[str, ...]
    times: dict[str, float]
    scheduler_macs: int = 0


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="policy"):
    """From here on another policy was in force, and others for the views that have their own."""

    policy: dict[str, Any]
    policies: dict[str, dict[str, Any]] = {}


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
    answer was reused. hurried: other frames waited when it was answered, and there was no time for a second look.

    granted: the budget that other cameras had left it, None where that was all it asked for. others_ms: of around_ms,
    how long it waited while others were answered.
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
    around_ms: float
    others_ms: float = 0.0
    hurried: bool = False
    second_look: SecondLook | None = None

    @property
    def own_around_ms(self) -> float:
        """Milliseconds from capture to publishing beside the forward pass and what was done for others."""
        return max(0.0, self.around_ms - self.others_ms)


Line = Frame | PolicyChange | Prepared


class Recorder(Protocol):
    """Is told each frame."""

    def frame(self, frame: Frame) -> None:
        """Keep a frame."""

    def policy(self, policy: dict[str, Any], policies: dict[str, dict[str, Any]]) -> None:
        """Keep a change of policy; policies: of views that have their own."""

    def prepared(self, prepared: Prepared) -> None:
        """Keep what is ready from now on."""


class NoTrace:
    """Keeps nothing."""

    def frame(self, frame: Frame) -> None:
        """Forget the frame."""

    def policy(self, policy: dict[str, Any], policies: dict[str, dict[str, Any]]) -> None:
        """Forget the policy."""

    def prepared(self, prepared: Prepared) -> None:
        """Forget what is ready."""


class TraceWriter:
    """Writes a trace as it comes; what a crash leaves can be read to where it ends."""

    def __init__(self, path: Path, header: Header) -> None:
        """Open `path` and write the header; raises InvalidInputError where that is not possible."""
        self._encode = msgspec.json.Encoder().encode
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise InvalidInputError(f"trace {path}: cannot be written ({error.strerror})") from None
        self._write(header)

    def _write(self, line: Header | Line) -> None:
        self._file.write(self._encode(line) + b"\n")

    def frame(self, frame: Frame) -> None:
        """Keep a frame."""
        self._write(frame)

    def policy(self, policy: dict[str, Any], policies: dict[str, dict[str, Any]]) -> None:
        """Keep a change of policy."""
        self._write(PolicyChange(policy=policy, policies=policies))

    def prepared(self, prepared: Prepared) -> None:
        """Keep what is ready from now on."""
        self._write(prepared)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> tuple[Header, Iterator[Line | str]]:
    """The header of a trace and its lines; a last item that is text says where and why the trace breaks off.

    Raises InvalidInputError on a file that is missing, no trace, or of another version.
    """
    lines = files.read(path, "trace", _MOST_BYTES).split(b"\n")
    try:
        header = msgspec.json.decode(lines[0], type=Header)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"trace {path}: is not a trace of `adainfd run --record` ({one_line(error)})") from None
    if header.schema != SCHEMA:
        raise InvalidInputError(f"trace {path}: schema is {header.schema!r}; this program reads {SCHEMA!r}")
    return header, _lines(lines)


def _lines(lines: list[bytes]) -> Iterator[Line | str]:
    decode = msgspec.json.Decoder(Line).decode
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        try:
            yield decode(line)
        except msgspec.DecodeError as error:
            yield f"breaks off at line {number}: {one_line(error, 120)}"
            return
