"""What systemd is told of the daemon: the protocol of sd_notify(3), spoken on its socket.

- READY after the first result, or when every camera is offline but all else stands;
- WATCHDOG from progress of the main loop, so that one that hangs, as in a call to the GPU, is killed and restarted;
  so is one of whose threads one has ended by a defect;
- STATUS, one live line; what hinders the daemon stands first in it;
- RELOADING and READY around a reload, STOPPING at the end;
- EXTEND_TIMEOUT_USEC before each step of the start that takes long.
"""

import socket
import time
from collections.abc import Callable, Mapping

from adainf.base.errors import one_line
from adainf.base.hindrances import Hindered
from adainfd.service.overview import Overview
from adainfd.wire.messages import Message, Result, Status
from adainfd.wire.observing import NOBODY, Observer

__all__ = ["Notifier", "for_systemd"]

_STATUS_SECONDS = 2.0
_LONGEST_STATUS = 400
_FIRST_RESULT_SECONDS = 60.0


def for_systemd(environment: Mapping[str, str], overview: Overview) -> Observer:
    """A notifier where systemd started this process with a socket to notify, else an observer that tells nobody."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return NOBODY
    watchdog = environment.get("WATCHDOG_USEC", "")
    return Notifier(address, overview, int(watchdog) / 1e6 if watchdog.isdecimal() else None)


class Notifier(Observer, Hindered):
    """Tells systemd, at `address`, what it is told."""

    def __init__(
        self, address: str, overview: Overview, watchdog: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """address: of a datagram socket, a path or @NAME. watchdog: seconds without a sign of life that are allowed."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._overview = overview
        # A quarter: a lost or late sign of life is no reason to kill.
        self._alive_every = None if watchdog is None else watchdog / 4
        self._clock = clock
        self._ready = False
        self._running = False
        self._reloading = False
        self._broken = False
        self._alive_at = self._status_at = 0.0
        self._why: str | None = None
        self._unheard = self._unheard_in_all = 0

    @property
    def hindrance(self) -> str | None:
        """Why systemd does not hear us."""
        return f"systemd cannot be told ({self._why}), {self._unheard} lost" if self._why else None

    @property
    def lost(self) -> Mapping[str, int]:
        """How many notifications it has not heard."""
        return {"notifications": self._unheard_in_all} if self._unheard_in_all else {}

    def beginning(self, step: str, seconds: float) -> None:
        """Ask for time for a step of the start, and say in the status which it is."""
        self._send(f"STATUS=starting: {step}", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def published(self, message: Message) -> None:
        """See what the message changes for systemd."""
        if isinstance(message, Result):
            self._become_ready()
        elif isinstance(message, Status) and message.camera is None:
            self._take_state(message.state)

    def _take_state(self, state: str) -> None:
        if state in ("ready", "degraded") and not self._running:
            self._running = True
            self.beginning("waiting for the first result", _FIRST_RESULT_SECONDS)
        elif state in ("reloaded", "reload_failed") and self._reloading:
            self._reloading = False
            self._send("READY=1", self._status())

    def turned(self) -> None:
        """The main loop is alive."""
        now = self._clock()
        self._become_ready()
        if self._alive_every is not None and not self._broken and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self._send("WATCHDOG=1")
        if self._ready and now - self._status_at >= _STATUS_SECONDS:
            self._status_at = now
            self._send(self._status())

    def broken(self) -> None:
        """Be restarted: nothing is said to the watchdog any more."""
        self._broken = True

    def _become_ready(self) -> None:
        if not self._ready and self._overview.ready:
            self._ready = True
            self._status_at = self._clock()
            self._send("READY=1", self._status())

    def reloading(self) -> None:
        """The configuration is read again."""
        self._reloading = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The daemon ends."""
        self._send("STOPPING=1", "STATUS=stopping")

    def _status(self) -> str:
        return f"STATUS={one_line(self._overview.view().line(), _LONGEST_STATUS)}"

    def _send(self, *assignments: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.setblocking(False)
                speaker.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            self._why = error.strerror or str(error)
            self._unheard += 1
            self._unheard_in_all += 1
        else:
            self._why, self._unheard = None, 0
