"""Files that a user names: looked at and read with each error of the system told in one line.

`Path.is_file` and its like raise where a folder may not be entered or a name is too long.
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
"""More than any file that an owner edits, or that is read whole, has."""

_WRITER_WITHIN_SECONDS = 2.0

_BYTES_AT_ONCE = 1 << 16

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_file(path: Path, kind: str) -> bool:
    """Whether there is a file at `path`; raises InvalidInputError, naming its `kind`, where the system cannot tell."""
    return stat.S_ISREG(_mode(path, kind))


def is_folder(path: Path, kind: str) -> bool:
    """Whether there is a folder at `path`; raises as `is_file` does."""
    return stat.S_ISDIR(_mode(path, kind))


def check_file(path: Path, kind: str) -> None:
    """Raise InvalidInputError, naming its `kind`, unless there is a file at `path`."""
    mode = _mode(path, kind)
    if not stat.S_ISREG(mode):
        why = "no such file" if not mode else "is a folder" if stat.S_ISDIR(mode) else "is no file"
        raise InvalidInputError(f"{kind} {path}: cannot be read ({why})")


def check_new_folder(path: Path) -> None:
    """Raise InvalidInputError where there is something at `path` that is no folder."""
    mode = _mode(path, "folder")
    if mode and not stat.S_ISDIR(mode):
        raise InvalidInputError(f"{path}: is no folder")


def check_new_file(path: Path) -> None:
    """Raise InvalidInputError where there is something at `path` that is no file, and not to be replaced by one."""
    mode = _mode(path, "file")
    if mode and not stat.S_ISREG(mode):
        raise InvalidInputError(f"{path}: cannot be written ({'is a folder' if stat.S_ISDIR(mode) else 'is no file'})")


def is_utf8(name: str) -> bool:
    """Whether a name can be encoded: Python keeps bytes that are not UTF-8 as surrogates, on which OpenCV crashes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_there(path: Path) -> bool:
    """Whether there is a file at `path` that can be reached; where the system does not say, there is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises


def _mode(path: Path, kind: str) -> int:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise InvalidInputError(f"{kind} {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL
        raise InvalidInputError(f"{kind} {str(path)!r}: cannot be read ({error})") from None


def read(path: Path, kind: str, most: int = _MOST_BYTES) -> bytes:
    """The bytes of a file or a pipe; raises InvalidInputError, naming its `kind`, where they cannot be read."""
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
    except ValueError as error:  # a NUL
        raise InvalidInputError(f"{kind} {str(path)!r}: cannot be read ({error})") from None
    if len(content) > most:
        raise InvalidInputError(f"{kind} {path}: cannot be read (Is larger than {most >> 20} MiB)")
    return bytes(content)


def _await_writer(pipe: int, path: Path, kind: str) -> None:
    """A pipe that nobody has opened for writing yet reads as if it were empty."""
    events = select.poll()
    events.register(pipe, select.POLLIN)
    if not events.poll(1000 * _WRITER_WITHIN_SECONDS):
        raise InvalidInputError(f"{kind} {path}: cannot be read (Nothing is written to this pipe)")


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that nobody writes to would hold us


def read_text(path: Path, kind: str, most: int = _MOST_BYTES) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark; raises InvalidInputError as `read` does."""
    content = read(path, kind, most)
    if content.startswith(_UTF_16):
        raise InvalidInputError(f"{kind} {path}: is UTF-16, as some editors call Unicode; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{kind} {path}: is not UTF-8 (at byte {error.start})") from None


def replace(path: Path, content: bytes, mode: int, like: Path | None = None) -> None:
    """Have `content` in the file at `path`, whole or not at all; raises OSError.

    It belongs to the same user and group as `like`, by default as what is there, and is open to nobody to whom that is
    not: until then to its owner alone. Where nothing is there it has this mode.
    """
    try:
        before = (like or path).stat()
    except FileNotFoundError:
        before = None
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)  # for its owner alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if before is not None:
                mode = before.st_mode & 0o777 & ~_shut_out(descriptor, before, strictly=like is not None)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)  # a box that loses power has the old file or the new one, not an empty one
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        os.unlink(temporary)  # noqa: PTH108
        raise


def replace_by(path: Path, source: Path, mode: int) -> None:
    """As `replace`, by a copy of another file of any size; what is there does not matter. Raises OSError."""
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
    """Have a new file belong to whom another does; the group's part of the mode where that cannot be."""
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
    """Who else than this user and root has a hand in the file or folder at `path`; None if nobody, or nothing is there.

    What is kept for the next start is taken for our own, so others must not be able to put it there.
    """
    for place in (path, path.parent):
        with contextlib.suppress(OSError, ValueError):
            owner = place.stat().st_uid
            if owner not in (0, os.geteuid()):
                return f"{place} belongs to {_user(owner)}"
    return open_to_all(path)


def read_own(path: Path) -> bytes:
    """What we kept at `path` before; raises OSError where it cannot be read, or another may have put it there."""
    if (why := stranger(path)) is not None:
        raise PermissionError(errno.EACCES, why, str(path))
    return path.read_bytes()


def open_to_all(path: Path) -> str | None:
    """Why everyone may change the file or folder at `path`; None if only some may, or nothing is there."""
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
