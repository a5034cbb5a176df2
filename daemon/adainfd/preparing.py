"""What can be made ready while frames are answered: branches that were not exported yet, and how long each takes."""

from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection

from adainf.allocator import give_back
from adainf.branch import Branch
from adainf.engines import OutOfMemoryError
from adainfd.config import ModelSection
from adainfd.exporting import Exporter, Failed
from adainfd.keeping import Keeper
from adainfd.logs import Logger
from adainfd.model import content_of, warm_up_content
from adainfd.recogniser import Recogniser
from adainfd.times import Measuring, missing_times

__all__ = ["Preparation"]

# Caches and threads that have gone cold are part of a frame's time.
_REST_SECONDS = 0.01
# Where frames never stop waiting, one of them waits for a step now and then.
_STEP_AT_LEAST_EVERY_SECONDS = 1.0


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
        pictures: int = 1,
    ) -> None:
        """exporter: what it exports is taken up as it comes. keeper: of what is measured. now: monotonic seconds.

        pictures: so many may be answered together.
        """
        self._recogniser = recogniser
        self._section = section
        self._exporter = exporter if exporter is not None and exporter.running else None
        self._keeper = keeper
        self._log = log
        self._at_hand: deque[Branch | str | None] = deque()
        self._pictures = pictures
        self._measuring = None if self._exporter is not None else self._to_measure()
        self._stepped = now

    @property
    def connections(self) -> list[Connection]:
        """Readable when there is more to do."""
        return [] if self._exporter is None else [self._exporter.connection]

    def due(self, idle_since: float | None) -> float | None:
        """When to `go_on` if no frame comes; None where there is nothing to do yet. Monotonic seconds.

        idle_since: when the last frame was answered; None before the first.
        """
        if idle_since is None or self._at_hand:
            return idle_since
        return None if self._measuring is None else max(idle_since, self._stepped) + _REST_SECONDS

    def go_on(self, idle_since: float | None, now: float) -> Recogniser | None:
        """Do a step where it disturbs nobody; what recognises from now on, where that changes.

        idle_since: when the last frame was answered, None while one waits; monotonic seconds, as `now`.
        """
        self._hear()
        due = self.due(idle_since)
        if now < self._stepped + _STEP_AT_LEAST_EVERY_SECONDS and (due is None or now < due):
            return None
        self._stepped = now
        if self._at_hand:
            return self._take_up(self._at_hand.popleft())
        return None if self._measuring is None else self._time(self._measuring)

    def _hear(self) -> None:
        while self._exporter is not None and self._exporter.connection.poll():
            said = self._exporter.receive()
            if isinstance(said, Failed):
                self._log.warning("exporter_failed", why=said.why)
                self._keeper.missing("exports", f"branches are not exported, and not used: {said.why}")
                said = None
            self._at_hand.append(said)
            if said is None:
                self._exporter = None

    def _take_up(self, what: Branch | str | None) -> Recogniser:
        better = self._recogniser
        if isinstance(what, Branch):
            better.engine.warm_up([what])
            better = better.along(what)
        elif what is None:
            give_back()
            self._log.info("prepared", branches=len(better.ready))
            self._measuring = self._to_measure()
        elif (content := content_of(self._section, better.profile)) is not None:
            warm_up_content(better.engine, content)
            better = replace(better, content=content)
        self._recogniser = better
        return better

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
