"""Background preparation while frames are answered: another engine, more branches, and their timings."""

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.connection import Connection

from adainf.base.errors import AdainfError
from adainf.branch import Branch
from adainf.engines import OutOfMemoryError
from adainf.process.allocator import give_back
from adainf.recogniser import Recogniser, warm_up_content
from adainf.schedulers.content_aware import ContentAware
from adainfd.base.keeping import Keeper
from adainfd.base.logs import Logger
from adainfd.config.configuration import ModelSection
from adainfd.model.export_process import SCHEDULER, Exporter, ExportFailed, OpenedNetworks
from adainfd.model.selection import content_of, needed_first, sizes_for, wanted_branches
from adainfd.model.successor import Successor
from adainfd.model.timings import Measuring, known_times, missing_times

__all__ = ["Preparation"]

# Pause between measurements: a frame's time includes caches and threads that have gone cold, so measure those too.
_REST_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0  # for a CUDA graph recording, for which memory may be short
_ASK_AGAIN_SECONDS = 0.05  # polling interval for a recording, which takes between 0.03 s and 3 s
# If frames are always pending, a step delays one of them this often.
_STEP_AT_LEAST_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Group:
    """A batch of `pictures` along a branch that is already ready for single pictures."""

    branch: Branch
    pictures: int


class Preparation:
    """The background preparation that improves a recogniser in small steps between frames."""

    def __init__(
        self,
        recogniser: Recogniser,
        section: ModelSection,
        exporter: Exporter | None,
        keeper: Keeper,
        log: Logger,
        now: float,
        *,
        successor: Successor | None = None,
        pictures: int = 1,
    ) -> None:
        """exporter: its exports are used as they arrive; one for the next start begins once everything is ready.

        keeper: saves the measured times. now: monotonic seconds. successor: opens the engine that takes over.
        pictures: the largest number of pictures answered together.
        """
        self._recogniser = recogniser
        self._section = section
        self._exporter: Exporter | None = None
        self._next_start: Exporter | None = None
        if exporter is not None and exporter.running:
            self._exporter = exporter
        elif exporter is not None and exporter.for_next_start:
            self._next_start = exporter
        self._keeper = keeper
        self._log = log
        self._successor = successor
        self._pictures = pictures
        self._to_come: deque[Branch | _Group | str | None] = deque()
        self._being_made = False
        self._waited_since = now
        self._measuring: Measuring | None = None
        self._stepped = now
        if successor is None and self._exporter is None:
            if recogniser.engine.on_gpu:
                self._to_come.extend(self._all_on_gpu())
            else:
                self._measuring = self._to_measure()

    @property
    def connections(self) -> list[Connection]:
        """The connections that become readable when there is more to do."""
        exporter = [] if self._exporter is None else [self._exporter.connection]
        return exporter if self._successor is None else [*exporter, self._successor.connection]

    def due(self, idle_since: float | None) -> float | None:
        """Return when to call `go_on` if no frame arrives, in monotonic seconds; None if there is nothing to do yet.

        idle_since: when the last frame was answered, in monotonic seconds; None before the first.
        """
        if idle_since is None:
            return None
        if self._to_come:
            return max(idle_since, self._stepped + _ASK_AGAIN_SECONDS) if self._being_made else idle_since
        return None if self._measuring is None else max(idle_since, self._stepped) + _REST_SECONDS

    def go_on(self, idle_since: float | None, now: float) -> Recogniser | None:
        """Take a step if one is due between frames; return the new recogniser if it changes, else None.

        idle_since: when the last frame was answered, None while a frame is pending; monotonic seconds, as `now`.
        With a configured device, raises UnavailableError if it cannot be used, InvalidInputError if weights do not fit.
        """
        self._hear()
        if self._successor is not None and (better := self._change_over(self._successor)) is not None:
            return better
        due = self.due(idle_since)
        if now < self._stepped + _STEP_AT_LEAST_EVERY_SECONDS and (due is None or now < due):
            return None
        self._stepped = now
        if self._to_come:
            return self._take_up()
        return None if self._measuring is None else self._time(self._measuring)

    def close(self) -> None:
        """Close the current engine."""
        self._recogniser.engine.close()

    def _change_over(self, successor: Successor) -> Recogniser | None:
        """Switch to the successor's engine once it is open; called only between frames."""
        before = self._recogniser
        try:
            engine = successor.take()
        except AdainfError as error:
            if self._section.device is not None:
                raise
            self._log.warning("engine", detail=f"the processors recognise instead of the GPU; {error}")
            self._successor = None
            self._stay()
            return None
        if engine is None:
            return None
        self._successor = None
        before.engine.close()
        profile = before.profile.of_networks(engine.outlines)
        ready = needed_first(profile)
        times = known_times(engine, profile, wanted_branches(profile), self._log)
        self._recogniser = Recogniser.of(engine, profile, ready, times, self._content)
        self._to_come.extend(self._all_on_gpu())
        self._log.info("changed_over", engine=engine.name, device=engine.device)
        give_back()
        return self._recogniser

    def _stay(self) -> None:
        """Stay with the CPU engine, as on a box without a GPU."""
        self._exporter, self._next_start = self._next_start, None
        if self._exporter is not None:
            self._exporter.begin()
            return
        self._to_come.extend([*wanted_branches(self._recogniser.profile), SCHEDULER, None])

    def _all_on_gpu(self) -> list[Branch | _Group | str | None]:
        """Return everything to prepare on a GPU, in order: branches, the scheduler, then batches, largest first."""
        engine, profile = self._recogniser.engine, self._recogniser.profile
        wanted = wanted_branches(profile)
        branches = [branch for branch in wanted if branch not in self._recogniser.ready]
        several = sizes_for(engine, self._pictures)[1:]
        return [
            *branches,
            SCHEDULER,
            *(_Group(branch, size) for size in reversed(several) for branch in wanted),
            None,
        ]

    def _hear(self) -> None:
        while self._exporter is not None and self._exporter.connection.poll():
            report = self._exporter.receive()
            if isinstance(report, ExportFailed):
                self._log.warning("exporter_failed", why=report.why)
                if not self._recogniser.engine.on_gpu:
                    self._keeper.missing("exports", f"branches are not exported, and not used: {report.why}")
                report = None
            if isinstance(report, OpenedNetworks):
                continue  # this start's networks are known
            if report is None:
                self._exporter = None
            if not self._recogniser.engine.on_gpu:
                self._to_come.append(report)

    def _take_up(self) -> Recogniser | None:
        """Take up the next item of the queue if it is ready."""
        item, before = self._to_come[0], self._recogniser
        try:
            self._being_made = not self._is_ready(item)
        except OutOfMemoryError:  # the next frame runs out too, and parks the model
            self._being_made = True
        if self._being_made and not self._given_up(item):
            return None
        self._to_come.popleft()
        self._waited_since = self._stepped
        if isinstance(item, Branch):
            self._recogniser = before.along(item)
        elif item is None:
            self._finish()
        elif item == SCHEDULER and before.content is None and (content := self._content) is not None:
            self._recogniser = replace(before, content=content)
        return None if self._recogniser is before else self._recogniser

    def _given_up(self, item: Branch | _Group | str | None) -> bool:
        """Return whether to skip an item: the engine also records each batch size by itself when it first occurs."""
        return isinstance(item, _Group) and self._stepped - self._waited_since > _PATIENCE_SECONDS

    def _is_ready(self, item: Branch | _Group | str | None) -> bool:
        """Return whether an item is ready, and prepare it if not: in the engine's own thread if it has one, or here."""
        engine = self._recogniser.engine
        if isinstance(item, Branch):
            return engine.make_ready(item)
        if isinstance(item, _Group):
            return engine.make_ready(item.branch, item.pictures)
        content = self._content if item == SCHEDULER else None
        if content is None or self._recogniser.content is not None:
            return True
        if not engine.make_parts_ready(content.resolution, content.network):
            return False
        warm_up_content(engine, content)
        return True

    @cached_property
    def _content(self) -> ContentAware | None:
        """The run's content-aware scheduler, cached because it is read from files."""
        return content_of(self._section, self._recogniser.profile)

    def _finish(self) -> None:
        give_back()
        self._log.info("prepared", branches=len(self._recogniser.ready))
        self._measuring = self._to_measure()
        if self._next_start is not None:
            self._exporter, self._next_start = self._next_start, None
            self._exporter.begin()

    def _time(self, measuring: Measuring) -> Recogniser | None:
        try:
            measuring.step()
        except OutOfMemoryError:
            return None
        if not measuring.done:
            return None
        recogniser = self._recogniser
        times = {**recogniser.times, **measuring.keep(self._keeper)}
        self._recogniser = replace(recogniser, times=times)
        self._measuring = self._to_measure()
        device, pictures = recogniser.engine.device, measuring.pictures
        self._log.info("measured", device=device, branches=len(times[pictures]), pictures=pictures)
        return self._recogniser

    def _to_measure(self) -> Measuring | None:
        recogniser = self._recogniser
        missing = missing_times(recogniser.engine, recogniser.times, self._pictures, recogniser.ready)
        return Measuring(recogniser.engine, recogniser.profile, recogniser.ready, missing[0]) if missing else None
