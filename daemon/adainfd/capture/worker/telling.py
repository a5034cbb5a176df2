"""A camera process's connection to the daemon."""

import time

from adainfd.base.token_bucket import TokenBucket
from adainfd.capture.exchange.channel import Receiver, Sender
from adainfd.capture.exchange.reports import Report, command_of, encoded

__all__ = ["Daemon"]

# Frames above this rate are not reported: no network processes so many, and the daemon treats a few times this rate
# as flooding. The burst allowance is for files, whose frames can be late and then catch up.
_MOST_FRAMES_A_SECOND = 500.0
_MOST_FRAMES_IN_A_ROW = 50.0


class Daemon:
    """Both directions of the connection. Methods raise EOFError or BrokenPipeError if the daemon is gone."""

    def __init__(self, commands: int, reports: int) -> None:
        """commands, reports: descriptors of the two pipes, owned by this object from now on."""
        self._commands = Receiver(commands)
        self._reports = Sender(reports)
        self._frames = TokenBucket(_MOST_FRAMES_IN_A_ROW, _MOST_FRAMES_A_SECOND, time.monotonic())

    def tell(self, report: Report) -> None:
        """Send a report; block while the pipe to the daemon is full."""
        self._reports.send(encoded(report))

    def takes_frame(self, now: float) -> bool:
        """Return whether to report a frame at `now` (monotonic seconds), given the rate limit and unread reports."""
        if self._frames.earn(now) < 1 or not self._reports.is_heard:
            return False
        self._frames.spend()
        return True

    def go(self, seconds: float | None) -> int | None:
        """Return the losses the daemon knew of when it sent `Go`; None if nothing arrives within `seconds`.

        seconds: None waits forever.
        """
        if not self._commands.poll(seconds):
            return None
        while (data := self._commands.receive()) is None:
            pass
        return command_of(data).losses
