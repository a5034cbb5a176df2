"""Writing of traces for `adainfd replay`; a failed write never keeps a frame from being answered."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from adainfd.tracing.lines import Frame, Header, LostLines, PolicyChange, Prepared, Remembered, SecondLook
from adainfd.tracing.tracefile import TraceFile

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
    "with_change",
]

_RETRY_SECONDS = 1.0
_CUT = "somebody else cut the file"


class Recorder(Protocol):
    """A recorder of frames, and of changes in what decisions are made from."""

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Record a frame; before: the state of its view when it was decided."""

    def policy(self, change: PolicyChange) -> None:
        """Record a change of policy."""

    def prepared(self, prepared: Prepared) -> None:
        """Record the branches and times from now on."""


class NoTrace:
    """A recorder that discards everything."""

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Discard the frame."""

    def policy(self, change: PolicyChange) -> None:
        """Discard the policy."""

    def prepared(self, prepared: Prepared) -> None:
        """Discard the branches and times."""


def with_change(header: Header, change: PolicyChange | Prepared) -> Header:
    """Return the header of a part that begins after `change`."""
    return msgspec.structs.replace(header, **msgspec.structs.asdict(change))


class TraceWriter:
    """A writer that appends each line at once; after a crash, the trace is readable up to where it ends.

    Lines that cannot be written are counted, and writing is retried once a second. When it succeeds, a new part begins
    with the number of missing lines. problem: why lines cannot be written, None if they can; lost: how many since the
    problem began; lost_in_all: since the start. found: whether a trace already existed. full: `limit` bytes are
    reached, and nothing more is written.
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
        """Open `path`; raises InvalidInputError if that fails, or if the file is not a trace.

        append: continue an existing trace instead of replacing it.
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
        self._file = TraceFile(path, append=append)
        self.found = self._file.held_a_trace
        self._write()

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Write a frame; a view's first frame in a part is preceded by the state of the view."""
        known = before.camera in self._known or before.fresh
        if self._write(frame) if known else self._write(before, frame):
            self._known.add(before.camera)

    def limit_to(self, limit: float | None) -> None:
        """Change the size limit (bytes), None for no limit."""
        self._limit = limit

    def policy(self, change: PolicyChange) -> None:
        """Write a change of policy."""
        self._header = with_change(self._header, change)
        self._write(change)

    def prepared(self, prepared: Prepared) -> None:
        """Write the branches and times from now on."""
        self._header = with_change(self._header, prepared)
        self._write(prepared)

    def _write(self, *lines: Frame | PolicyChange | Prepared | Remembered) -> bool:
        """Write all of these lines or none; return whether they were written."""
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
        """Try to resume writing after a failure, if the retry is due."""
        if self.problem is not None:
            self._write()

    def _lose(self, lines: Sequence[object]) -> None:
        lost = len(lines[-1:])  # a view's state and its frame count as one line
        self.lost += lost
        self.lost_in_all += lost

    def _interrupt(self, why: str) -> None:
        self.problem = why
        self._begun = False
        self._known.clear()

    def _opening(self) -> list[Header | LostLines]:
        """Return the lines that begin a part, if the next line starts one."""
        if self._begun:
            return []
        header = msgspec.structs.replace(self._header, recorded_at=time.time())
        return [header] if self.problem is None else [header, LostLines(lost=self.lost, why=self.problem)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write the count of lost lines if possible, and close the file."""
        self._retry_at = 0.0
        self.retry()
        self._file.close()
