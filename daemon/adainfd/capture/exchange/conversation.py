"""The protocol state of a camera process: which reports are legal next. Pure: callers pass in the time."""

from adainfd.capture.exchange.channel import MalformedError
from adainfd.capture.exchange.reports import (
    MOST_FRAMES,
    BrokeOff,
    Delivered,
    Ended,
    Failed,
    Go,
    Lost,
    Named,
    Opened,
    Passed,
    Report,
    Unconfined,
)
from adainfd.capture.settings import CameraSettings

__all__ = ["MOST_NAMED", "Conversation"]

MOST_NAMED = 100
"""Limit on the undecodable frames one process reports by name; any others are only counted."""


class Conversation:
    """Checks the reports of one process in order. A correct process never violates these rules."""

    def __init__(self, settings: CameraSettings, captured: int, now: float) -> None:
        """captured: frames captured so far. now: when the process starts. Times are monotonic seconds."""
        self._settings = settings
        self._captured = captured
        self._last_at = now
        self._begun = False
        self._opened = False
        self._may_deliver = False
        self._is_lost = False
        self._losses = 0
        self._broke_off = False
        self._named = 0
        self._over = False

    def go(self) -> Go:
        """Return the command that lets the process deliver."""
        self._may_deliver, self._is_lost = True, False
        return Go(self._losses)

    def check(self, report: Report, now: float) -> None:
        """Raise MalformedError if the report is not legal at this point."""
        if self._over:
            raise MalformedError("goes on after its end")
        if self._is_lost:
            raise MalformedError("goes on without having been told to")
        match report:
            case Opened():
                self._check_shape(report)
            case Delivered():
                self._check_frame(report, now)
            case Passed():
                self._check_passed(report)
            case Named() | BrokeOff() | Unconfined():
                self._check_notes(report)
            case Lost():
                self._losses += 1
                self._is_lost = True
            case Ended() | Failed():
                self._over = True
        self._begun = True

    def _check_shape(self, opened: Opened) -> None:
        height, width, _ = opened.shape
        if height * width > self._settings.most_pixels:
            limit = f"at most {self._settings.most_pixels:,} pixels are taken"
            raise MalformedError(f"opened pictures of {width} × {height} pixels; {limit}")
        self._opened = True

    def _check_frame(self, frame: Delivered, now: float) -> None:
        if not self._opened or not self._may_deliver:
            raise MalformedError("delivers a frame before it was told to go")
        if not self._last_at <= frame.at <= now:
            when = "in the future" if frame.at > now else "before the last one"
            raise MalformedError(f"delivers a frame that was captured {when}")
        parts = len(self._settings.parts)
        if len(frame.motions) != parts:
            raise MalformedError(f"tells the motion of {len(frame.motions)} parts of a picture; it has {parts}")
        self._count(1)
        if frame.number != self._captured:
            raise MalformedError(f"delivers frame {frame.number} as number {self._captured}")
        self._last_at = frame.at

    def _check_passed(self, passed: Passed) -> None:
        if (passed.over_rate or passed.newer_frame) and not self._may_deliver:
            raise MalformedError("passes frames over before it was told to go")
        self._count(passed.over_rate + passed.newer_frame + passed.undecodable)

    def _check_notes(self, note: Named | BrokeOff | Unconfined) -> None:
        match note:
            case Named():
                self._named += 1
                if self._named > MOST_NAMED:
                    raise MalformedError(f"names more than {MOST_NAMED} frames that cannot be decoded")
            case BrokeOff():
                if self._broke_off:
                    raise MalformedError("says twice that its file broke off")
                self._broke_off = True
            case Unconfined():
                if self._begun:
                    raise MalformedError("says too late what it could not give up")

    def _count(self, frames: int) -> None:
        self._captured += frames
        if self._captured > MOST_FRAMES:
            raise MalformedError(f"has captured more than {MOST_FRAMES} frames")
