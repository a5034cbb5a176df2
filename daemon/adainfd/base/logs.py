"""Non-blocking logging: readable lines on a terminal, JSON on any other stderr."""

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
"""A structlog logger, whose methods take an event name and keyword fields."""

_STDERR = 2
# Buffer in bytes for a pipe that is read too slowly: four times what the pipe itself holds.
_MOST_WAITING = 1 << 18
_SURE_TO_FIT = 512
_LONGEST = 400
_UNREAD = "nobody reads them"
_PUBLIC_KEY = "key"
"""The log field with a client's public key, exempt from redaction: a key may look like a URL with a password."""


def configure(lines: "LogLines | None" = None) -> Logger:
    """Create the program's logger; call it once, in the command."""
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
    """Escape control characters: values come from cameras, brokers and other boxes, and must not control a terminal."""
    return {printable(name, _LONGEST): _shown(value) for name, value in values.items()}


def _shown(value: object) -> object:
    if isinstance(value, str):
        return printable(value, _LONGEST)
    text = printable(repr(value), _LONGEST)
    return value if text == repr(value) else text


def _redacted(logger: Any, method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Redact credentials that the caller may have overlooked, as the last line of defence."""
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
        case _:  # the text that the renderer would write
            return redacted(repr(value))


class LogLines(Hindered):
    """A non-blocking writer of log lines to a file descriptor, by default stderr.

    If a pipe is full, lines are buffered up to 256 KiB. Lines that cannot be written or buffered are dropped and
    counted; the first line that can be written again reports how many.
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
        # The authenticator's thread logs too.
        self._lock = threading.RLock()

    @property
    def hindrance(self) -> str | None:
        """The reason why lines are being lost, None if they are not."""
        return f"log lines cannot be written ({self._why}), {self._lost} lost" if self._lost else None

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of lines lost since the start."""
        return {"log_lines": self._lost_in_all} if self._lost_in_all else {}

    def msg(self, message: str) -> None:
        """Write or buffer a line; count it as lost if neither is possible."""
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
        """Write the buffered lines; then, if lines were lost, a line that reports how many."""
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
        """Write as much of the buffer as possible; return False if its lines were lost."""
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
        if not self._reports:  # a lost report does not count: the next one has the same numbers
            self._lost += lines
            self._lost_in_all += lines


def _unblocked(descriptor: int) -> Callable[[bytes], int]:
    """Return a function that writes as much as fits without blocking; it raises BlockingIOError if nothing fits."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):  # systemd's journal
        return lambda data: _send(descriptor, data)
    if not stat.S_ISFIFO(mode) and not os.isatty(descriptor):
        return lambda data: os.write(descriptor, data)
    # O_NONBLOCK on the descriptor itself would affect every process that shares it, such as the shell: open it anew.
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
        return lambda data: os.write(own, data)
    return lambda data: _where_it_fits(descriptor, data)


def _send(descriptor: int, data: bytes) -> int:
    journal = socket.socket(fileno=descriptor)
    try:
        return journal.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    finally:
        journal.detach()


def _where_it_fits(descriptor: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, data[:_SURE_TO_FIT])
