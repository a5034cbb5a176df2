"""Traces of what was decided, for `adainfd replay`; frames are answered whether or not theirs can be written."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from adainf.errors import InvalidInputError
from adainfd.control.lines import SCHEMA, Frame, Gap, Header, PolicyChange, Prepared, Remembered, SecondLook, read

__all__ = [
    "Frame",
    "Header",
    "NoTrace",
    "PolicyChange",
    "Prepared",
    "Recorder",
    "Remembered",
    "SecondLook",
    "TraceWriter",
    "check_place",
    "read",
    "with_change",
]

_RETRY_SECONDS = 1.0
_CUT = "somebody else cut the file"
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT)


class Recorder(Protocol):
    """Is told each frame, and what the decisions are made with."""

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Keep a frame; before: what was remembered of its view when it was decided."""

    def policy(self, change: PolicyChange) -> None:
        """Keep a change of policy."""

    def prepared(self, prepared: Prepared) -> None:
        """Keep what is ready from now on."""


class NoTrace:
    """Keeps nothing."""

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Forget the frame."""

    def policy(self, change: PolicyChange) -> None:
        """Forget the policy."""

    def prepared(self, prepared: Prepared) -> None:
        """Forget what is ready."""


def with_change(header: Header, change: PolicyChange | Prepared) -> Header:
    """The header of a part that begins after `change`."""
    return msgspec.structs.replace(header, **msgspec.structs.asdict(change))


class TraceWriter:
    """Writes a trace as it comes; what a crash leaves can be read to where it ends.

    Where lines cannot be written they are counted, and writing is tried again each second. When it succeeds, a new part
    begins that says how many are missing. problem: why they cannot be written, None where they can; lost: how many
    since then; lost_in_all: since the start. found: a trace was there already. full: `limit` bytes are reached, and
    nothing more is kept.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        *,
        append: bool = False,
        limit: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open `path`; raises InvalidInputError where that is not possible, or it holds something else than a trace.

        append: add to the trace that is there, instead of beginning anew.
        """
        self.path = path
        self.problem: str | None = None
        self.lost = self.lost_in_all = 0
        self.full = False
        self._header = header
        self._limit = limit
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode
        self._begun = False
        self._known: set[str] = set()
        self._retry_at = 0.0
        self._file = _File(path, append=append)
        self.found = self._file.held_a_trace
        self._write()

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Keep a frame; a view's first one in a part comes after what was remembered of the view."""
        known = before.camera in self._known or before.fresh
        if self._write(frame) if known else self._write(before, frame):
            self._known.add(before.camera)

    def policy(self, change: PolicyChange) -> None:
        """Keep a change of policy."""
        self._header = with_change(self._header, change)
        self._write(change)

    def prepared(self, prepared: Prepared) -> None:
        """Keep what is ready from now on."""
        self._header = with_change(self._header, prepared)
        self._write(prepared)

    def _write(self, *lines: Frame | PolicyChange | Prepared | Remembered) -> bool:
        """Write all these lines or none; whether they are written."""
        if self.full:
            return False
        if self.problem is not None and self._clock() < self._retry_at:
            self._lose(lines)
            return False
        try:
            if self._file.cut():
                self._interrupt(_CUT)
            new = self._opening()
            data = b"".join(self._encode(line) + b"\n" for line in (*new, *lines))
            if self._limit is not None and self._file.size + len(data) > self._limit:
                self.full = True
                return False
            self._file.append(data)
        except OSError as error:
            self._interrupt(error.strerror or str(error))
            self._lose(lines)
            self._retry_at = self._clock() + _RETRY_SECONDS
            return False
        self._begun, self.problem, self.lost = True, None, 0
        return True

    def retry(self) -> None:
        """Try to write again what could not be written, where it is time."""
        if self.problem is not None:
            self._write()

    def _lose(self, lines: Sequence[object]) -> None:
        lost = len(lines[-1:])  # what is remembered of a view goes with its frame
        self.lost += lost
        self.lost_in_all += lost

    def _interrupt(self, why: str) -> None:
        self.problem = why
        self._begun = False
        self._known.clear()

    def _opening(self) -> list[Header | Gap]:
        """What begins a part, where the next line does."""
        if self._begun:
            return []
        header = msgspec.structs.replace(self._header, recorded_at=time.time())
        return [header] if self.problem is None else [header, Gap(lost=self.lost, why=self.problem)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say what is lost, where there is room for that, and write nothing more."""
        self._retry_at = 0.0
        self.retry()
        self._file.close()


class _File:
    """A file to which whole lines are added."""

    def __init__(self, path: Path, *, append: bool) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.size = 0
        self.held_a_trace = _holds_a_trace(path)
        try:
            self._open(0 if append else os.O_TRUNC)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in _MAY_PASS:
                why = getattr(error, "strerror", None) or error
                raise InvalidInputError(f"trace {path}: cannot be written ({why})") from None

    def _open(self, flags: int = 0) -> int:
        # Not to wait for the reader of a pipe; a file knows no waiting.
        flags |= os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._descriptor = os.open(self._path, flags, 0o666)
        found = os.fstat(self._descriptor)
        self._regular = stat.S_ISREG(found.st_mode)
        self.size = found.st_size if self._regular else 0
        self._inside_line = self.size > 0 and not _ends_a_line(self._path)
        return self._descriptor

    def cut(self) -> bool:
        """Whether somebody else has shortened or deleted the file; a deleted one is made anew."""
        if self._descriptor is None:
            self._open()
            return False
        found = os.fstat(self._descriptor)
        if not self._regular or (found.st_size >= self.size and found.st_nlink):
            return False
        if found.st_nlink:
            self.size, self._inside_line = found.st_size, found.st_size > 0
        else:
            self.close()
            self._open()
        return True

    def append(self, data: bytes) -> None:
        """Add lines; raises OSError where there is no room for all of them, and then leaves none."""
        if self._inside_line:
            data = b"\n" + data
        descriptor = self._open() if self._descriptor is None else self._descriptor
        written = 0
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError:
            if written:
                self._take_back(descriptor, written)
            raise
        self._inside_line = False
        self.size += len(data)

    def _take_back(self, descriptor: int, written: int) -> None:
        try:
            os.ftruncate(descriptor, self.size)
        except OSError:  # a pipe or a device
            self.size += written
            self._inside_line = True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # of a network's file system: nothing more can be done
                os.close(descriptor)


def check_place(path: Path) -> None:
    """Raise InvalidInputError where no trace could be begun or continued at `path`; nothing is made or changed."""
    _holds_a_trace(path)
    try:
        folder = stat.S_ISDIR(path.stat().st_mode)
        why = os.strerror(errno.EISDIR) if folder else None if os.access(path, os.W_OK) else "not by this user"
    except FileNotFoundError:
        known = path.parent.is_dir()
        why = (
            "no such folder" if not known else None if os.access(path.parent, os.W_OK | os.X_OK) else "not by this user"
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    if why is not None:
        raise InvalidInputError(f"trace {path}: cannot be written ({why})")


def _holds_a_trace(path: Path) -> bool:
    """Whether there is a trace already.

    Raises InvalidInputError on a file that holds something else: one letter wrong, and a policy would be overwritten.
    """
    with contextlib.suppress(OSError, ValueError):  # opening it for writing says why
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            begin = file.read(200)
        if begin and b'"kind":"header"' not in begin and SCHEMA.encode() not in begin:
            raise InvalidInputError(f"trace {path}: exists and is no trace; it is left as it is")
        return bool(begin)
    return False


def _ends_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except OSError:
        return False  # an empty line is passed over
