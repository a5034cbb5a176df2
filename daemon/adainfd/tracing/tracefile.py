"""The file of a trace: a single writer appends whole lines, and a file that is not a trace is never touched."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from adainf.base.errors import InvalidInputError
from adainfd.tracing.lines import SCHEMA

__all__ = ["TraceFile", "check_place"]

_MAY_PASS = (errno.ENOSPC, errno.EDQUOT)


class TraceFile:
    """An append-only file of whole lines, locked by its writer."""

    def __init__(self, path: Path, *, append: bool) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.size = 0
        self.held_a_trace = _holds_a_trace(path)
        try:
            self._open(anew=not append)
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) not in _MAY_PASS:
                why = getattr(error, "strerror", None) or error
                raise InvalidInputError(f"trace {path}: cannot be written ({why})") from None

    def _open(self, *, anew: bool = False) -> int:
        # O_NONBLOCK: do not wait for the reader of a pipe; it has no effect on a regular file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._descriptor = os.open(self._path, flags, 0o666)
        found = os.fstat(self._descriptor)
        self._regular = stat.S_ISREG(found.st_mode)
        if self._regular:
            self._lock(self._descriptor)
            if anew:
                os.ftruncate(self._descriptor, 0)
        self.size = found.st_size if self._regular and not anew else 0
        self._inside_line = self.size > 0 and not _ends_a_line(self._path)
        return self._descriptor

    def _lock(self, descriptor: int) -> None:
        """Lock the file: a replay would mistake the interleaved lines of two daemons for those of one."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise OSError(errno.EBUSY, "another daemon records there") from None
        except OSError:  # a file system without lock support
            pass

    def cut(self) -> bool:
        """Return whether another process has truncated or deleted the file; a deleted file is created again."""
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
        """Append all of the lines or none; raises OSError if they cannot be written."""
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
        except OSError:  # a pipe or device cannot be truncated
            self.size += written
            self._inside_line = True

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # on a network file system; nothing can be done about it here
                os.close(descriptor)


def check_place(path: Path) -> None:
    """Raise InvalidInputError if no trace could be started or continued at `path`; nothing is created or changed."""
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
    """Return whether `path` already holds a trace.

    Raises InvalidInputError if the file holds anything else: a mistyped name could overwrite a policy.
    """
    with contextlib.suppress(OSError, ValueError):  # opening it for writing reports the cause
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
        return False  # an extra line break only adds an empty line, which readers skip
