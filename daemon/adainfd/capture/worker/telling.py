"""The daemon, as a camera's process tells it and hears from it."""

import time

from adainfd.base.token_bucket import TokenBucket
from adainfd.capture.exchange.channel import Receiver, Sender
from adainfd.capture.exchange.reports import Report, command_of, encoded

__all__ = ["Daemon"]

# More frames a second are not told of: no network looks at so many, and the daemon takes a process for a flood that
# tells of a few times as many. So many may come in a row, for a file's frames are late and then early.
_MOST_FRAMES_A_SECOND = 500.0
_MOST_FRAMES_IN_A_ROW = 50.0


class Daemon:
    """Both directions. Raises EOFError or BrokenPipeError where the daemon is gone."""

    def __init__(self, commands: int, reports: int) -> None:
        """The descriptors of both pipes, which belong to this from now on."""
        self._commands = Receiver(commands)
        self._reports = Sender(reports)
        self._frames = TokenBucket(_MOST_FRAMES_IN_A_ROW, _MOST_FRAMES_A_SECOND, time.monotonic())

    def tell(self, report: Report) -> None:
        """Waits where the daemon is far behind."""
        self._reports.send(encoded(report))

    def takes_frame(self, now: float) -> bool:
        """Whether to tell of a frame now, monotonic seconds: the daemon keeps up, and it is not one of too many."""
        if self._frames.earn(now) < 1 or not self._reports.is_heard:
            return False
        self._frames.spend()
        return True

    def go(self, seconds: float | None) -> int | None:
        """The losses that the daemon knew of as it said `Go`; None where it says nothing within so many seconds.

        seconds: None waits for ever.
        """
        if not self._commands.poll(seconds):
            return None
        while (data := self._commands.receive()) is None:
            pass
        return command_of(data).losses
