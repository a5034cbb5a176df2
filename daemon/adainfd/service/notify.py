"""Notifications to systemd, by the protocol of sd_notify(3).

- READY after the first result, or when every camera is offline but all else works;
- WATCHDOG from progress of the main loop, so that systemd kills and restarts a daemon that hangs, as in a call to the
  GPU, or one of whose threads has ended by a defect;
- STATUS, one live line, with hindrances first;
- RELOADING and READY around a reload, STOPPING at the end;
- EXTEND_TIMEOUT_USEC before each startup step that may take long.
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
    """Return a notifier where systemd gave this process a socket to notify, else an observer that does nothing."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return NOBODY
    watchdog = environment.get("WATCHDOG_USEC", "")
    return Notifier(address, overview, int(watchdog) / 1e6 if watchdog.isdecimal() else None)


class Notifier(Observer, Hindered):
    """Notifies systemd, at `address`, of the daemon's state."""

    def __init__(
        self, address: str, overview: Overview, watchdog: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """address: a datagram socket's path or @NAME. watchdog: seconds allowed between signs of life, or None."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._overview = overview
        # A quarter, so that one lost or late sign of life does not get the daemon killed.
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
        """Why systemd cannot be notified; None while it can."""
        return f"systemd cannot be told ({self._why}), {self._unheard} lost" if self._why else None

    @property
    def lost(self) -> Mapping[str, int]:
        """Notifications that did not reach systemd since the start, as {"notifications": count}; empty if none."""
        return {"notifications": self._unheard_in_all} if self._unheard_in_all else {}

    def beginning(self, step: str, seconds: float) -> None:
        """Ask for time for a startup step, and name the step in the status."""
        self._send(f"STATUS=starting: {step}", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def published(self, message: Message) -> None:
        """Notify systemd where a message makes the daemon ready or ends a reload."""
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
        """Send a sign of life and the status, each if it is time."""
        now = self._clock()
        self._become_ready()
        if self._alive_every is not None and not self._broken and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self._send("WATCHDOG=1")
        if self._ready and now - self._status_at >= _STATUS_SECONDS:
            self._status_at = now
            self._send(self._status())

    def broken(self) -> None:
        """Stop notifying the watchdog, so that systemd restarts the daemon."""
        self._broken = True

    def _become_ready(self) -> None:
        if not self._ready and self._overview.ready:
            self._ready = True
            self._status_at = self._clock()
            self._send("READY=1", self._status())

    def reloading(self) -> None:
        """Notify systemd of a reload."""
        self._reloading = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Notify systemd of the shutdown."""
        self._send("STOPPING=1", "STATUS=stopping")

    def _status(self) -> str:
        return f"STATUS={one_line(self._overview.view().line(), _LONGEST_STATUS)}"

    def _send(self, *assignments: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram_socket:
                datagram_socket.setblocking(False)
                datagram_socket.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            self._why = error.strerror or str(error)
            self._unheard += 1
            self._unheard_in_all += 1
        else:
            self._why, self._unheard = None, 0
