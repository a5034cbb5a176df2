"""What a camera's process and the daemon tell each other: data with bounds, so that reading it does nothing else.

A camera's process decodes what strangers send. Whoever takes it over can send anything; the daemon reads it by this.
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
"""Seconds between two frames of a file, as the daemon is told."""

MOST_FRAMES = 2**53
"""That a camera can count: what every reader of our messages can."""

_LONGEST_TEXT = 1000
LONGEST_SIDE = 65500
"""Of a picture, in pixels: JPEG, as it is shown by the page, takes no longer one."""


_Text = Annotated[str, msgspec.Meta(max_length=_LONGEST_TEXT)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIDE)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    pass


class Opened(_Message, frozen=True):
    """Pictures of `shape` (height, width, 3) follow, `interval` seconds apart if they are paced.

    A live source tells no such thing: what it claims to send a second is often wrong.
    """

    shape: tuple[_Side, _Side, Annotated[int, msgspec.Meta(ge=3, le=3)]]
    interval: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_INTERVAL)]


class Delivered(_Message, frozen=True):
    """Frame `number` (from 1) is in its slot.

    at: monotonic seconds. motions: of each part that is recognised, the share (0..1) that differs from the frame
    before, None for the first. sketch: its rows.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=MOST_FRAMES)]
    at: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    motions: Annotated[tuple[_Share | None, ...], msgspec.Meta(max_length=64)]
    sketch: Annotated[bytes, msgspec.Meta(min_length=SKETCH_BYTES, max_length=SKETCH_BYTES)]


class Passed(_Message, frozen=True):
    """So many frames were captured, numbered and passed over: too many for the camera's rate, unheard, undecodable.

    `Named` tells which the last were.
    """

    over_rate: _Count
    newer_frame: _Count
    undecodable: _Count


class Named(_Message, frozen=True):
    """`what` could not be decoded; why, in a few words. Each is named once."""

    what: Annotated[str, msgspec.Meta(max_length=200)]
    why: _Text


class BrokeOff(_Message, frozen=True):
    """A file ended before the length it claims; said once, a looping camera goes on with what there is."""

    reason: _Text


class Ended(_Message, frozen=True):
    """Nothing more will come."""


class Lost(_Message, frozen=True):
    """The source cannot be opened or shows nothing any more; the process waits for `Go`."""

    fault: Fault
    reason: _Text


class Unconfined(_Message, frozen=True):
    """What the process could not give up; told before it opens its source, and by an unconfined process alone."""

    missing: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=16)]


class Failed(_Message, frozen=True):
    """The process ends by an error of its own."""

    reason: _Text


class Go(_Message, frozen=True):
    """From the daemon: open the source where it is not open, and deliver.

    losses: how many times the daemon has heard `Lost` from this process. A process that was lost more often goes on
    waiting: the daemon did not know yet.
    """

    losses: int


class Start(msgspec.Struct, frozen=True):
    """What a camera's process is to do.

    before: how many frames this camera has captured already. deadly: what earlier processes died of.
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
    """The bytes of a message."""
    return _encoder.encode(message)


def report_of(data: bytes) -> Report:
    """What a camera's process told; raises MalformedError where it is no report within all bounds."""
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
    """What the daemon told."""
    return _commands.decode(data)


def start_of(data: bytes) -> Start:
    """What a camera's process is to do."""
    return _starts.decode(data)


def text(value: object) -> str:
    """As text in a report is: on one line, printable, and cut in its middle where it is long."""
    return printable(str(value), _LONGEST_TEXT)
