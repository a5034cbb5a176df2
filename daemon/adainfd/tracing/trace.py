"""Traces of what was decided, for `adainfd replay`; frames are answered whether or not theirs can be written."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from adainfd.tracing.lines import Frame, Header, LostLines, PolicyChange, Prepared, Remembered, SecondLook, read
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
    "read",
    "with_change",
]

_RETRY_SECONDS = 1.0
_CUT = "somebody else cut the file"


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
        self._file = TraceFile(path, append=append)
        self.found = self._file.held_a_trace
        self._write()

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Keep a frame; a view's first one in a part comes after what was remembered of the view."""
        known = before.camera in self._known or before.fresh
        if self._write(frame) if known else self._write(before, frame):
            self._known.add(before.camera)

    def limit_to(self, limit: float | None) -> None:
        """End at another size."""
        self._limit = limit

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

    def _opening(self) -> list[Header | LostLines]:
        """What begins a part, where the next line does."""
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
        """Say what is lost, where there is room for that, and write nothing more."""
        self._retry_at = 0.0
        self.retry()
        self._file.close()
