"""Command output, where the reader may leave, the disk may be full, and a terminal obeys escape codes.

Names, labels and errors come from files and other boxes. `show`, `say` and `console` print them literally.
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
    """The output has no reader any more, as after `| head`; unwinds like KeyboardInterrupt and is no failure."""


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Raise ReaderLeftError or UnavailableError for output that cannot be written, at the latest on leaving."""
    before = sys.stdout
    descriptor = _descriptor(before)
    if descriptor is None or not isinstance(before, io.TextIOWrapper):  # closed, or replaced by other code
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
        # Flushed here, because at interpreter exit nothing could handle the error.
        guard, sys.stdout = sys.stdout, before
        guard.flush()


def _descriptor(stream: Any) -> int | None:
    """Return the file descriptor that a stream writes to; None for an in-memory stream."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError):
        return None


def console(**options: Any) -> "Console":
    """Return a rich console that prints text literally: no markup, emoji codes or highlighting. options: see rich.

    It does not escape control codes; pass foreign text through `printable` first.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def show(line: str) -> None:
    """Print a line on stdout."""
    print(printable(line, _LONGEST), flush=True)


def say(line: str) -> None:
    """Print a line on stderr, if it is writable."""
    if sys.stderr is None:
        return
    try:
        print(printable(line, _LONGEST), file=sys.stderr, flush=True)
    except OSError:
        # Later lines have nowhere to go either, and Python would exit with a status of its own.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class _Output(io.FileIO):
    """A file that raises one of this module's errors at the first failed write and discards the rest."""

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
