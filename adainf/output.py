"""Standard output of a command: its reader may leave, and a file that it goes to may be full."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from adainf.errors import UnavailableError

__all__ = ["ReaderLeftError", "guarded", "say"]


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


def say(line: str) -> None:
    """A line on stderr, where that can be written."""
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
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
