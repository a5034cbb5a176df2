"""User-named files: inspected, read and replaced, with each system error reported in one line.

`Path.is_file` and similar methods raise where a folder may not be entered or a name is too long.
"""

import codecs
import contextlib
import errno
import os
import pwd
import select
import shutil
import stat
import tempfile
from pathlib import Path

from adainf.base.errors import InvalidInputError

__all__ = [
    "check_file",
    "check_new_file",
    "check_new_folder",
    "is_file",
    "is_folder",
    "is_there",
    "is_utf8",
    "open_to_all",
    "read",
    "read_own",
    "read_text",
    "replace",
    "replace_by",
    "stranger",
]

_MOST_BYTES = 64 << 20
"""More than any file that an owner edits, or that is read whole, ever has."""

_WRITER_WITHIN_SECONDS = 2.0

_BYTES_AT_ONCE = 1 << 16

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_file(path: Path, kind: str) -> bool:
    """Return whether `path` is a file; raises InvalidInputError, naming its `kind`, if the system cannot tell."""
    return stat.S_ISREG(_mode(path, kind))


def is_folder(path: Path, kind: str) -> bool:
    """Return whether `path` is a folder; raises as `is_file` does."""
    return stat.S_ISDIR(_mode(path, kind))


def check_file(path: Path, kind: str) -> None:
    """Raise InvalidInputError, naming its `kind`, unless `path` is a file."""
    mode = _mode(path, kind)
    if not stat.S_ISREG(mode):
        why = "no such file" if not mode else "is a folder" if stat.S_ISDIR(mode) else "is no file"
        raise InvalidInputError(f"{kind} {path}: cannot be read ({why})")


def check_new_folder(path: Path) -> None:
    """Raise InvalidInputError if `path` exists and is no folder."""
    mode = _mode(path, "folder")
    if mode and not stat.S_ISDIR(mode):
        raise InvalidInputError(f"{path}: is no folder")


def check_new_file(path: Path) -> None:
    """Raise InvalidInputError if `path` exists and is no regular file, and so must not be replaced by one."""
    mode = _mode(path, "file")
    if mode and not stat.S_ISREG(mode):
        raise InvalidInputError(f"{path}: cannot be written ({'is a folder' if stat.S_ISDIR(mode) else 'is no file'})")


def is_utf8(name: str) -> bool:
    """Return whether a name is valid UTF-8: Python keeps other bytes as surrogates, on which OpenCV crashes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_there(path: Path) -> bool:
    """Return whether `path` is a reachable file; False if the system cannot tell."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises


def _mode(path: Path, kind: str) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise InvalidInputError(f"{kind} {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # the path contains a NUL
        raise InvalidInputError(f"{kind} {str(path)!r}: cannot be read ({error})") from None


def read(path: Path, kind: str, most: int = _MOST_BYTES) -> bytes:
    """Return the bytes of a file or pipe; raises InvalidInputError, naming its `kind`, if it cannot be read."""
    try:
        with open(path, "rb", opener=_opened) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
                raise InvalidInputError(f"{kind} {path}: cannot be read (Is no file)")
            if stat.S_ISFIFO(mode):
                _await_writer(file.fileno(), path, kind)
            os.set_blocking(file.fileno(), True)
            content = bytearray()
            while (more := file.read(_BYTES_AT_ONCE)) and len(content) <= most:
                content += more
    except OSError as error:
        raise InvalidInputError(f"{kind} {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # the path contains a NUL
        raise InvalidInputError(f"{kind} {str(path)!r}: cannot be read ({error})") from None
    if len(content) > most:
        raise InvalidInputError(f"{kind} {path}: cannot be read (Is larger than {most >> 20} MiB)")
    return bytes(content)


def _await_writer(pipe: int, path: Path, kind: str) -> None:
    """Wait briefly for data: a pipe that has no writer yet reads as if it were empty."""
    events = select.poll()
    events.register(pipe, select.POLLIN)
    if not events.poll(1000 * _WRITER_WITHIN_SECONDS):
        raise InvalidInputError(f"{kind} {path}: cannot be read (Nothing is written to this pipe)")


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a pipe without a writer would block


def read_text(path: Path, kind: str, most: int = _MOST_BYTES) -> str:
    """Return the text of a UTF-8 file, with or without a byte-order mark; raises InvalidInputError as `read` does."""
    content = read(path, kind, most)
    if content.startswith(_UTF_16):
        raise InvalidInputError(f"{kind} {path}: is UTF-16, as some editors call Unicode; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{kind} {path}: is not UTF-8 (at byte {error.start})") from None


def replace(path: Path, content: bytes, mode: int, like: Path | None = None) -> None:
    """Write `content` to `path` atomically; raises OSError.

    The file gets the owner, group and mode of `like`, by default the file it replaces, and is never accessible to
    anyone whom that file excludes; until it is complete, only its owner may access it. A new file gets `mode`.
    """
    try:
        before = (like or path).stat()
    except FileNotFoundError:
        before = None
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if before is not None:
                mode = before.st_mode & 0o777 & ~_shut_out(descriptor, before, strictly=like is not None)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)  # after a power failure the file is the old or the new one, never empty
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def replace_by(path: Path, source: Path, mode: int) -> None:
    """Replace `path` atomically by a copy of `source`, of any size, with mode `mode`. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file, source.open("rb") as content:
            shutil.copyfileobj(content, file, _BYTES_AT_ONCE)
            os.fchmod(descriptor, mode)
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def _shut_out(descriptor: int, before: os.stat_result, *, strictly: bool) -> int:
    """Give a new file the owner and group of another; return the group's mode bits to clear if that is not allowed."""
    now = os.fstat(descriptor)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.fchown(descriptor, before.st_uid, before.st_gid)
        except PermissionError:
            if strictly:
                raise
            return stat.S_IRWXG if before.st_gid != now.st_gid else 0
    return 0


def stranger(path: Path) -> str | None:
    """Return who besides this user and root controls the file or folder at `path`; None if nobody, or it is missing.

    State kept for the next start is trusted, so others must not be able to plant it.
    """
    for place in (path, path.parent):
        with contextlib.suppress(OSError, ValueError):
            owner = place.stat().st_uid
            if owner not in (0, os.geteuid()):
                return f"{place} belongs to {_user(owner)}"
    return open_to_all(path)


def read_own(path: Path) -> bytes:
    """Read a file kept by this program; raises OSError if it cannot be read or another user may have planted it."""
    if (why := stranger(path)) is not None:
        raise PermissionError(errno.EACCES, why, str(path))
    return path.read_bytes()


def open_to_all(path: Path) -> str | None:
    """Return why everyone may change the file or folder at `path`; None if not everyone may, or it is missing."""
    for place in (path, path.parent):
        with contextlib.suppress(OSError, ValueError):
            mode = place.stat().st_mode
            if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
                return f"everyone may write to {place}"
    return None


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
