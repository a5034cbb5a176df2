"""What can be made ready while frames are answered: another engine, more branches, and how long each takes."""

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
from adainfd.model.export_process import SCHEDULER, Exporter, ExportFailed
from adainfd.model.selection import content_of, needed_first, sizes_for, wanted_branches
from adainfd.model.successor import Successor
from adainfd.model.timings import Measuring, known_times, missing_times

__all__ = ["Preparation"]

# Caches and threads that have gone cold are part of a frame's time.
_REST_SECONDS = 0.01
_PATIENCE_SECONDS = 30.0  # for recordings that there may be too little memory for
_ASK_AGAIN_SECONDS = 0.05  # whether a recording is made, which takes between 0.03 s and 3 s
# Where frames never stop waiting, one of them waits for a step now and then.
_STEP_AT_LEAST_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Group:
    """So many pictures together along a branch that is ready for one."""

    branch: Branch
    pictures: int


class Preparation:
    """Makes a recogniser better in small steps between frames."""

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
        """exporter: what it exports is taken up as it comes; one for the next start begins once all is ready.

        keeper: of what is measured. now: monotonic seconds. successor: opens the engine that takes over.
        pictures: so many may be answered together.
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
        """Readable when there is more to do."""
        exporter = [] if self._exporter is None else [self._exporter.connection]
        return exporter if self._successor is None else [*exporter, self._successor.connection]

    def due(self, idle_since: float | None) -> float | None:
        """When to `go_on` if no frame comes; None where there is nothing to do yet. Monotonic seconds.

        idle_since: when the last frame was answered; None before the first.
        """
        if idle_since is None:
            return None
        if self._to_come:
            return max(idle_since, self._stepped + _ASK_AGAIN_SECONDS) if self._being_made else idle_since
        return None if self._measuring is None else max(idle_since, self._stepped) + _REST_SECONDS

    def go_on(self, idle_since: float | None, now: float) -> Recogniser | None:
        """Do a step where it disturbs nobody; what recognises from now on, where that changes.

        idle_since: when the last frame was answered, None while one waits; monotonic seconds, as `now`.
        Raises UnavailableError, or InvalidInputError on weights that do not fit, where a device is configured and
        cannot be used.
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
        """End the engine that recognises."""
        self._recogniser.engine.close()

    def _change_over(self, successor: Successor) -> Recogniser | None:
        """Switch to the engine that was opened meanwhile, if it is open; no frame is being answered now."""
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
        profile, ready = before.profile, needed_first(before.profile)
        times = known_times(engine, profile, wanted_branches(profile), self._log)
        self._recogniser = Recogniser.of(engine, profile, ready, times, self._content)
        self._to_come.extend(self._all_on_gpu())
        self._log.info("changed_over", engine=engine.name, device=engine.device)
        give_back()
        return self._recogniser

    def _stay(self) -> None:
        """Let the processors go on, as on a box without a GPU."""
        self._exporter, self._next_start = self._next_start, None
        if self._exporter is not None:
            self._exporter.begin()
            return
        self._to_come.extend([*wanted_branches(self._recogniser.profile), SCHEDULER, None])

    def _all_on_gpu(self) -> list[Branch | _Group | str | None]:
        """All that a GPU engine is made ready for: the branches, the scheduler, then larger groups."""
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
            said = self._exporter.receive()
            if isinstance(said, ExportFailed):
                self._log.warning("exporter_failed", why=said.why)
                if not self._recogniser.engine.on_gpu:
                    self._keeper.missing("exports", f"branches are not exported, and not used: {said.why}")
                said = None
            if said is None:
                self._exporter = None
            if not self._recogniser.engine.on_gpu:
                self._to_come.append(said)

    def _take_up(self) -> Recogniser | None:
        """Take up what comes next, if it is ready."""
        what, now = self._to_come[0], self._recogniser
        try:
            self._being_made = not self._is_ready(what)
        except OutOfMemoryError:  # the next frame meets it too
            self._being_made = True
        if self._being_made and not self._given_up(what):
            return None
        self._to_come.popleft()
        self._waited_since = self._stepped
        if isinstance(what, Branch):
            self._recogniser = now.along(what)
        elif what is None:
            self._finish()
        elif what == SCHEDULER and now.content is None and (content := self._content) is not None:
            self._recogniser = replace(now, content=content)
        return None if self._recogniser is now else self._recogniser

    def _given_up(self, what: Branch | _Group | str | None) -> bool:
        """Whether to go on without it: the engine records by itself the numbers of pictures that come."""
        return isinstance(what, _Group) and self._stepped - self._waited_since > _PATIENCE_SECONDS

    def _is_ready(self, what: Branch | _Group | str | None) -> bool:
        """Whether it is ready; an engine with a thread of its own makes it meanwhile, any other makes it at once."""
        engine = self._recogniser.engine
        if isinstance(what, Branch):
            return engine.make_ready(what)
        if isinstance(what, _Group):
            return engine.make_ready(what.branch, what.pictures)
        content = self._content if what == SCHEDULER else None
        if content is None or self._recogniser.content is not None:
            return True
        if not engine.make_parts_ready(content.resolution, content.weights):
            return False
        warm_up_content(engine, content)
        return True

    @cached_property
    def _content(self) -> ContentAware | None:
        """Read from the run's files, so not at every step."""
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
        missing = missing_times(recogniser.engine, recogniser.times, self._pictures)
        return Measuring(recogniser.engine, recogniser.profile, recogniser.ready, missing[0]) if missing else None
