"""Recording of a trace by the running daemon; a reload starts, changes or ends it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adainf.base.hindrances import Hindered
from adainfd.base import state
from adainfd.base.logs import Logger
from adainfd.config.configuration import Configuration
from adainfd.tracing.lines import Frame, Header, PolicyChange, Prepared, Remembered
from adainfd.tracing.trace import TraceWriter, with_change
from adainfd.tracing.tracefile import check_place

__all__ = ["Recording", "Target", "check", "target_of"]

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """The file of a trace. megabytes: size at which it ends, None for no limit. append: continue an existing one."""

    path: Path
    megabytes: float | None = None
    append: bool = True


def target_of(configuration: Configuration, record: Path | None = None) -> Target | None:
    """Return where to record a trace, if anywhere; `record` from the command line overrides the configuration."""
    section = configuration.record
    if record is not None:
        return Target(record, append=False)
    return None if section is None else Target(state.folder() / section.file, section.megabytes)


def check(configuration: Configuration) -> None:
    """Raise InvalidInputError if the configured trace could not be started or continued."""
    target = target_of(configuration)
    # A missing state folder is created at startup.
    if target is not None and (target.path.parent != state.folder() or state.folder().exists()):
        check_place(target.path)


class Recording(Hindered):
    """A recorder that writes a trace while it has a target; its header is kept current, so it can start at any time."""

    def __init__(self, header: Header, log: Logger) -> None:
        """header: the current profile, branches, times and policies."""
        self._header = header
        self._log = log
        self._target: Target | None = None
        self._writer: TraceWriter | None = None
        self._said: str | None = None
        self._lost_before = 0

    @property
    def hindrance(self) -> str | None:
        """The reason why the trace cannot be written, None if it can."""
        writer = self._writer
        if writer is None or writer.problem is None:
            return None
        return f"the trace {writer.path} cannot be written ({writer.problem}), {writer.lost} lost"

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of lost trace lines since the start."""
        lost = self._lost_before + (0 if self._writer is None else self._writer.lost_in_all)
        return {"trace_lines": lost} if lost else {}

    @property
    def state(self) -> str | None:
        """The trace file, and whether it is full; None while nothing is recorded."""
        if self._target is None:
            return None
        return f"{self._target.path}{'' if self._writer else f' (full: {self._target.megabytes:g} MB)'}"

    def take_up(self, target: Target | None) -> None:
        """Record to `target` from now on; raises InvalidInputError, with nothing changed, if that is not possible."""
        if target == self._target and self._writer is not None:
            return
        writer = None
        if target is not None:
            with contextlib.suppress(OSError):  # opening the file reports the cause
                state.folder().mkdir(parents=True, exist_ok=True)
            limit = None if target.megabytes is None else target.megabytes * _MEGABYTE
            if self._target is not None and self._writer is not None and self._target.path == target.path:
                self._writer.limit_to(limit)
                self._target = target
                return
            writer = TraceWriter(target.path, self._header, append=target.append, limit=limit)
        self.close()
        self._target, self._writer = target, writer
        if target is not None and writer is not None:
            before = ("continued" if target.append else "replaced") if writer.found else None
            self._log.info("recording", file=str(target.path), megabytes=target.megabytes, earlier_trace=before)
        self._attend()

    def frame(self, frame: Frame, before: Remembered) -> None:
        """Record a frame."""
        if self._writer is not None:
            self._writer.frame(frame, before)
            self._attend()

    def policy(self, change: PolicyChange) -> None:
        """Record a change of policy."""
        self._header = with_change(self._header, change)
        if self._writer is not None:
            self._writer.policy(change)
            self._attend()

    def prepared(self, prepared: Prepared) -> None:
        """Record the branches and times from now on."""
        self._header = with_change(self._header, prepared)
        if self._writer is not None:
            self._writer.prepared(prepared)
            self._attend()

    def retry(self) -> None:
        """Retry a write that failed."""
        if self._writer is not None and self._writer.problem is not None:
            self._writer.retry()
            self._attend()

    def close(self) -> None:
        """End the trace, if there is one, and forget the target."""
        writer = self._writer
        if writer is not None:
            self._end(writer)
            self._log.info("recording_ended", file=str(writer.path), lost=writer.lost_in_all)
        self._target = None

    def _end(self, writer: TraceWriter) -> None:
        writer.close()
        self._lost_before += writer.lost_in_all
        self._writer = self._said = None

    def _attend(self) -> None:
        """Log changes in the state of the file: failed, written again, full."""
        writer = self._writer
        if writer is None:
            return
        file, problem = str(writer.path), writer.problem
        if problem != self._said:
            self._said = problem
            if problem is None:
                self._log.info("trace_written_again", file=file, lost=writer.lost_in_all)
            else:
                self._log.warning("trace_not_written", file=file, why=problem)
        if writer.full:
            self._end(writer)
            megabytes = None if self._target is None else self._target.megabytes
            self._log.warning("recording_full", file=file, megabytes=megabytes)
