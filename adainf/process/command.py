"""How a command ends: one line on stderr and an exit status; no traceback for anything a user can fix."""

import errno
import io
import os
import re
import sys
import traceback
from typing import NoReturn

import click

from adainf.base import files, output
from adainf.base.credentials import RedactedStream, redacted, without_credentials
from adainf.base.errors import AdainfError, InvalidInputError, UnavailableError, printable
from adainf.process import arguments, home, installation, limits

__all__ = ["USAGE", "Group", "run"]

USAGE = InvalidInputError.exit_status
"""Exit status of a wrong argument, the same as of any other invalid configuration."""

_LATER = UnavailableError.exit_status
_DEFECT = AdainfError.exit_status
_LONGEST = 600
# The number that the smallest of these programs has open at once, with some to spare.
_FILES, _THREADS = 48, 8
_COMPUTES = "adainf"
"""The program whose commands keep what they produce; the daemon logs its home itself."""

_LIBGL_REMEDY = (
    "OpenCV cannot be imported: libGL.so.1 is missing; install it (Debian, Ubuntu: apt-get install libgl1), "
    "or replace opencv-python by opencv-python-headless"
)
# Resources that a box runs out of temporarily.
_SCARCE = {
    errno.EAGAIN: "no more processes or threads may be started (ulimit -u, TasksMax=)",
    errno.EDQUOT: "this user's part of the disk is full",
    errno.EMFILE: "too many files are open (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "too many files are open on this box",
    errno.ENOMEM: "there is not enough memory (ulimit -v, MemoryMax=)",
    errno.ENOSPC: "the disk is full",
}
_PIECE = re.compile(r"[^\s'\"=@:/\\?&#;]{4,}")  # of an argument; shorter pieces would match inside ordinary words
_ONNX_RUNTIME = re.compile(r"SystemError : (\d+)\b")
_NO_THREAD = ("can't start new thread", "PosixThread")
_NOT_LOADED = ("cannot allocate memory", "failed to map", "cannot create shared object descriptor")


class Group(click.Group):
    """A group of commands that prints its help if no command is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; see click."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


def run(command: click.Command, name: str) -> None:
    """Run `command` on the process's arguments and exit with its status (docs/reference/exit-status.md)."""
    arguments.take_over()
    arguments.conceal()
    try:
        _prepare()
        with output.guarded():
            status = command.main(prog_name=name, standalone_mode=False)
        if status is None and name == _COMPUTES and (notice := home.notice()) is not None:
            output.say(f"{name}: {notice}")
    except (output.ReaderLeftError, click.exceptions.Abort):
        sys.exit(0)
    except click.ClickException as error:
        _fail(name, error.format_message(), USAGE)
    except AdainfError as error:
        _fail(name, str(error), error.exit_status)
    except Exception as error:
        _fail(name, *_told(error))
    sys.exit(status if isinstance(status, int) else 0)


def _prepare() -> None:
    """Set up what every command relies on; raises AdainfError if it is not available."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not closed
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = RedactedStream(sys.stderr)
    for argument in sys.argv[1:]:
        if not files.is_utf8(argument):
            raise InvalidInputError(f"argument {without_credentials(argument)}: is not UTF-8")
    for variable, value in os.environ.items():
        names_folders = variable.startswith(("XDG_", "ADAINF_")) or variable.endswith("_DIRECTORY")
        if names_folders and not files.is_utf8(value):
            raise InvalidInputError(f"{variable} {value}: is not UTF-8")
    limits.leave_no_core()
    limits.have_files(_FILES, "any command")
    limits.have_threads(_THREADS + 2 * (os.cpu_count() or 1))
    home.settle()


def _told(error: Exception) -> tuple[str, int]:
    """Return the message and exit status for an unexpected error; print the traceback if it is a defect."""
    number = getattr(error, "errno", None)  # of OSError and of ZMQError
    if runtime := _ONNX_RUNTIME.search(str(error)):
        number = int(runtime[1])
    if number in _SCARCE:
        return f"{_SCARCE[number]}: {error}", _LATER
    if isinstance(error, MemoryError):
        return _SCARCE[errno.ENOMEM], _LATER
    if isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_THREAD):
        return _SCARCE[errno.EAGAIN], _LATER
    if isinstance(error, ImportError) and "libGL" in str(error):
        return _LIBGL_REMEDY, _LATER
    if isinstance(error, ImportError) and any(text in str(error) for text in _NOT_LOADED):
        return f"{_SCARCE[errno.ENOMEM]}: {error}", _LATER
    if isinstance(error, ImportError) and (lacking := installation.lacking(error)) is not None:
        return lacking, _LATER
    if isinstance(error, OSError) and error.filename is not None:
        return f"{_name(error.filename)}: {error.strerror}", USAGE
    for line in traceback.format_exc().splitlines():
        output.say(line)
    return "this is a defect: please report it with the lines above", _DEFECT


def _without_arguments(message: str) -> str:
    """Return a message without the hidden parts of the arguments, which it may quote in unrecognisable pieces."""
    given = sys.argv[1:]
    for argument, shown in zip(given, arguments.concealed(given), strict=True):
        message = message.replace(argument, shown).replace(repr(argument), repr(shown))
        if argument != shown:
            hidden = set(_PIECE.findall(argument)) - set(_PIECE.findall(shown))
            message = re.sub("|".join(sorted(map(re.escape, hidden), key=len, reverse=True)) or "$.", "***", message)
    return message


def _name(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)


def _fail(name: str, message: str, status: int) -> NoReturn:
    # A misplaced argument may be a camera's address with credentials.
    message = " ".join(redacted(_without_arguments(message)).split())
    output.say(f"{name}: {printable(message, _LONGEST)}")
    sys.exit(status)
