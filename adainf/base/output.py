"""What a command writes: its reader may leave, a file that it goes to may be full, and a terminal obeys escape codes.

Names, labels and errors come from files and from other boxes. `show`, `say` and `console` show them as text.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from adainf.base.errors import UnavailableError, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ReaderLeftError", "console", "guarded", "say", "show"]

_LONGEST = 4000


class ReaderLeftError(BaseException):
    """Nobody reads the output any more, as after `| head`; unwinds like KeyboardInterrupt, and is no failure."""


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Inside, output that cannot be written raises ReaderLeftError or UnavailableError, at the latest at the end."""
    before = sys.stdout
    descriptor = _descriptor(before)
    if descriptor is None or not isinstance(before, io.TextIOWrapper):  # closed, or somebody else's
        yield
        return
    before.flush()
    binary = io.BufferedWriter(_Output(descriptor, "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(
        binary, encoding=before.encoding, errors=before.errors, line_buffering=before.line_buffering
    )
    try:
        yield
    finally:
        # Not at the interpreter's exit, where nobody could handle what this raises.
        guard, sys.stdout = sys.stdout, before
        guard.flush()


def _descriptor(stream: Any) -> int | None:
    """The file that a stream writes to; None where it is kept in memory."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError):
        return None


def console(**options: Any) -> "Console":
    """A console of rich that takes text literally: no markup, no emoji codes, no highlighting. options: see rich.

    Escape codes are not its business; what comes from elsewhere goes through `printable` first.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def show(line: str) -> None:
    """A line on stdout."""
    print(printable(line, _LONGEST), flush=True)


def say(line: str) -> None:
    """A line on stderr, where that can be written."""
    if sys.stderr is None:
        return
    try:
        print(printable(line, _LONGEST), file=sys.stderr, flush=True)
    except OSError:
        # The rest has nowhere to go either, and Python would exit with a status of its own.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class _Output(io.FileIO):
    """Raises an error of ours at the first failure, and swallows the rest."""

    _failed = False

    def write(self, data: Any) -> int:
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
            raise ReaderLeftError from None
        except OSError as error:
            self._failed = True
            raise UnavailableError(f"output: cannot be written ({error.strerror})") from None
