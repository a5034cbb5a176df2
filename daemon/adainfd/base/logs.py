"""Logging: readable lines on a terminal, JSON for whatever else reads stderr. It never holds up its program."""

import contextlib
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog

from adainf.base.credentials import redacted
from adainf.base.errors import printable
from adainf.base.hindrances import Hindered

__all__ = ["LogLines", "Logger", "configure"]

Logger = Any
"""A structlog logger: its methods take an event's name and named values."""

_STDERR = 2
# Of a pipe that is read too slowly: as much again as the pipe itself holds, four times.
_MOST_WAITING = 1 << 18
_SURE_TO_FIT = 512
_LONGEST = 400
_UNREAD = "nobody reads them"
_PUBLIC_KEY = "key"
"""The field of a client's public key, which may look like an address with a password."""


def configure(lines: "LogLines | None" = None) -> Logger:
    """The program's logger; call once, in the command."""
    lines = lines or LogLines()
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer()
    log = structlog.wrap_logger(
        lines,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if on_terminal else "iso", utc=not on_terminal),
            _redacted,
            *([_as_text] if on_terminal else []),
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
    )
    lines.log = log
    return log


def _as_text(_log: Any, _method: str, values: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Values come from cameras, brokers and other boxes: none does anything to the terminal."""
    return {printable(name, _LONGEST): _shown(value) for name, value in values.items()}


def _shown(value: object) -> object:
    if isinstance(value, str):
        return printable(value, _LONGEST)
    text = printable(repr(value), _LONGEST)
    return value if text == repr(value) else text


def _redacted(logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """The last guard: whoever writes a line hides credentials, and may have overlooked some."""
    del logger, method
    return {name: value if name == _PUBLIC_KEY else _without_secrets(value) for name, value in event.items()}


def _without_secrets(value: Any) -> Any:
    match value:
        case str():
            return redacted(value)
        case Mapping():
            return {name: _without_secrets(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_without_secrets(inner) for inner in value]
        case bool() | int() | float() | None:
            return value
        case _:  # as the renderer would write it
            return redacted(repr(value))


class LogLines(Hindered):
    """Lines on a file descriptor, by default stderr.

    A pipe that nobody reads holds up nobody: what does not fit waits here, within a bound. What cannot be written, or
    does not fit here either, is lost and counted; the first line that can be written again says how many were.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = _STDERR if sys.stderr is not None else os.open(os.devnull, os.O_WRONLY)
        self.log: Logger = None
        self._write = _unblocked(descriptor)
        self._waiting = b""
        self._inside_line = False
        self._why: str | None = None
        self._lost = self._lost_in_all = 0
        self._reports = False
        # The gate's thread logs too.
        self._lock = threading.RLock()

    @property
    def hindrance(self) -> str | None:
        """Why lines are lost."""
        return f"log lines cannot be written ({self._why}), {self._lost} lost" if self._lost else None

    @property
    def lost(self) -> Mapping[str, int]:
        """How many lines are."""
        return {"log_lines": self._lost_in_all} if self._lost_in_all else {}

    def msg(self, message: str) -> None:
        """Write a line, or count it."""
        with self._lock:
            if not self._reports:
                self.retry()
            line = message.encode(errors="backslashreplace") + b"\n"
            if self._reports or not self._lost:
                self._put(line)
            else:
                self._lose(1)

    debug = info = warning = error = critical = exception = msg

    def retry(self) -> None:
        """Write what waits and then, where lines were lost, one that says how many."""
        with self._lock:
            if self._waiting:
                self._flush()
            if self._lost and not self._waiting and self.log is not None:
                self._reports = True
                try:
                    self.log.warning("log_lines_lost", lost=self._lost, why=self._why)
                finally:
                    self._reports = False

    def _put(self, line: bytes) -> None:
        if len(self._waiting) + len(line) > _MOST_WAITING:
            self._why = _UNREAD
            self._lose(1)
            return
        self._waiting += (b"\n" if self._inside_line and not self._waiting else b"") + line
        if self._flush() and self._reports:
            self._lost, self._why = 0, None

    def _flush(self) -> bool:
        """Write what waits as far as that is possible; whether none of it is lost."""
        try:
            while self._waiting:
                written = self._write(self._waiting)
                self._inside_line = not self._waiting[:written].endswith(b"\n")
                self._waiting = self._waiting[written:]
        except BlockingIOError:
            pass
        except OSError as error:
            lines, self._waiting = self._waiting.count(b"\n"), b""
            self._why = error.strerror or str(error)
            self._lose(lines)
            return False
        return True

    def _lose(self, lines: int) -> None:
        if not self._reports:  # a report that cannot be written is no loss: the next one says the same
            self._lost += lines
            self._lost_in_all += lines


def _unblocked(descriptor: int) -> Callable[[bytes], int]:
    """Writes to a descriptor as much as fits there now; raises BlockingIOError where nothing does."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):  # the journal's
        return lambda data: _send(descriptor, data)
    if not stat.S_ISFIFO(mode) and not os.isatty(descriptor):
        return lambda data: os.write(descriptor, data)
    # To make the descriptor itself unblocking would do that to everyone who has it too, such as the shell.
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
        return lambda data: os.write(own, data)
    return lambda data: _where_it_fits(descriptor, data)


def _send(descriptor: int, data: bytes) -> int:
    speaker = socket.socket(fileno=descriptor)
    try:
        return speaker.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        speaker.detach()


def _where_it_fits(descriptor: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[:_SURE_TO_FIT])
