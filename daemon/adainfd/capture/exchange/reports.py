"""Messages between the daemon and a camera process: bounded data that is decoded without side effects.

A camera process decodes untrusted input. Once compromised, it can send anything; the daemon accepts only this.
"""

from typing import Annotated

import msgspec

from adainf.base.errors import printable
from adainf.sensors.motion import SKETCH_BYTES
from adainfd.capture.exchange.channel import MalformedError
from adainfd.capture.fault import Fault
from adainfd.capture.settings import CameraSettings

__all__ = [
    "LONGEST_INTERVAL",
    "LONGEST_SIDE",
    "MOST_FRAMES",
    "BrokeOff",
    "Delivered",
    "Ended",
    "Failed",
    "Go",
    "Lost",
    "Named",
    "Opened",
    "Passed",
    "Report",
    "Start",
    "Unconfined",
    "command_of",
    "encoded",
    "report_of",
    "start_of",
    "text",
]

LONGEST_INTERVAL = 86400.0
"""Limit on the reported interval between two frames of a file, in seconds."""

MOST_FRAMES = 2**53
"""Highest frame number, the largest integer that every reader of our messages represents exactly."""

_LONGEST_TEXT = 1000
LONGEST_SIDE = 65500
"""Longest side of a picture in pixels, as JPEG, which the web page displays, allows no more."""


_Text = Annotated[str, msgspec.Meta(max_length=_LONGEST_TEXT)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIDE)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    pass


class Opened(_Message, frozen=True):
    """Pictures of `shape` (height, width, 3) follow, `interval` seconds apart if the process paces them.

    The interval is 0 for a live source, since the frame rate it claims is often wrong.
    """

    shape: tuple[_Side, _Side, Annotated[int, msgspec.Meta(ge=3, le=3)]]
    interval: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_INTERVAL)]


class Delivered(_Message, frozen=True):
    """Frame `number` (from 1) is in its slot.

    at: monotonic seconds. motions: for each recognised part, the share (0..1) that differs from the previous frame,
    None for the first frame. sketch: its rows.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=MOST_FRAMES)]
    at: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    motions: Annotated[tuple[_Share | None, ...], msgspec.Meta(max_length=64)]
    sketch: Annotated[bytes, msgspec.Meta(min_length=SKETCH_BYTES, max_length=SKETCH_BYTES)]


class Passed(_Message, frozen=True):
    """Counts of frames captured, numbered and passed over: above the camera's rate, superseded, undecodable.

    `Named` identifies the undecodable ones.
    """

    over_rate: _Count
    newer_frame: _Count
    undecodable: _Count


class Named(_Message, frozen=True):
    """`what` could not be decoded, with a short reason. Each name is reported once."""

    what: Annotated[str, msgspec.Meta(max_length=200)]
    why: _Text


class BrokeOff(_Message, frozen=True):
    """The file ended before its claimed length; reported once, after which a looping camera repeats what there is."""

    reason: _Text


class Ended(_Message, frozen=True):
    """Nothing more will come."""


class Lost(_Message, frozen=True):
    """The source cannot be opened or no longer yields pictures; the process waits for `Go`."""

    fault: Fault
    reason: _Text


class Unconfined(_Message, frozen=True):
    """Privileges the process could not drop; sent only if there are any, before it opens its source."""

    missing: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=16)]


class Failed(_Message, frozen=True):
    """The process ends because of an internal error."""

    reason: _Text


class Go(_Message, frozen=True):
    """Command from the daemon: open the source if it is not open, and deliver.

    losses: how many `Lost` reports the daemon has received from this process. A process that has sent more keeps
    waiting: the daemon sent this before it knew of the last one.
    """

    losses: int


class Start(msgspec.Struct, frozen=True):
    """What a camera process needs at its start.

    before: frames this camera captured so far. deadly: pictures that ended earlier processes.
    """

    settings: CameraSettings
    before: int
    deadly: tuple[str, ...]


Report = Opened | Delivered | Passed | Named | BrokeOff | Ended | Lost | Failed | Unconfined

_encoder = msgspec.msgpack.Encoder()
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)
_commands = msgspec.msgpack.Decoder(Go)
_starts = msgspec.msgpack.Decoder(Start)


def encoded(message: Report | Go | Start) -> bytes:
    """Return the encoded message."""
    return _encoder.encode(message)


def report_of(data: bytes) -> Report:
    """Decode a report; raise MalformedError if it is malformed or out of bounds."""
    try:
        report = _reports.decode(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedError(f"sent what is no message ({printable(str(error), 100)})") from None
    if not all(value.isprintable() for value in _texts(report)):
        raise MalformedError("sent text that cannot be printed")
    return report


def _texts(report: Report) -> tuple[str, ...]:
    match report:
        case Named(what, why):
            return what, why
        case BrokeOff(reason) | Lost(_, reason) | Failed(reason):
            return (reason,)
        case Unconfined(missing):
            return missing
    return ()


def command_of(data: bytes) -> Go:
    """Decode a command from the daemon."""
    return _commands.decode(data)


def start_of(data: bytes) -> Start:
    """Decode the start settings."""
    return _starts.decode(data)


def text(value: object) -> str:
    """Return `value` as report text: one printable line, shortened in the middle if it is too long."""
    return printable(str(value), _LONGEST_TEXT)
