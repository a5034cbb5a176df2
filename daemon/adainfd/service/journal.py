"""A summary of the daemon in the log, once a minute; a line for each result only on request."""

import time
from collections.abc import Callable

from adainfd.base.logs import Logger
from adainfd.service.overview import Overview
from adainfd.wire.messages import Message, Result
from adainfd.wire.observing import Observer

__all__ = ["Journal"]

_EVERY_SECONDS = 60.0


class Journal(Observer):
    """Logs `running` once a minute while the main loop runs."""

    def __init__(
        self,
        overview: Overview,
        log: Logger,
        clock: Callable[[], float] = time.monotonic,
        *,
        results: bool = False,
    ) -> None:
        """results: whether to log each result as well."""
        self._overview = overview
        self._log = log
        self._results = results
        self._clock = clock
        self._due = clock() + _EVERY_SECONDS

    def published(self, message: Message) -> None:
        """Log a result, if results are to be logged."""
        if self._results and isinstance(message, Result) and not message.repeated:
            best = message.labels[0] if message.labels else None
            self._log.info(
                "result",
                camera=message.camera,
                region=message.region,
                frame=message.frame,
                label=None if best is None else best.label,
                score=None if best is None else best.score,
                network=message.plan.network,
                branch=message.plan.branch,
                chosen_by=message.plan.chosen_by,
                macs_fraction=message.plan.macs_fraction,
                budget=message.budget.fraction,
                limited_by=message.budget.limited_by,
                total_ms=message.timing_ms.total,
            )

    def turned(self) -> None:
        """Log the summary, if it is time."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + _EVERY_SECONDS
        view = self._overview.view()
        accounts = {camera.name: camera.account for camera in view.cameras if camera.account is not None}
        self._log.info(
            "running",
            summary=view.line(),
            frames_per_second=round(view.frames_per_second, 1),
            budget=None if view.budget is None else view.budget.fraction,
            limited_by=None if view.budget is None else view.budget.limited_by,
            p95_ms=view.p95_ms,
            captured={name: account.captured for name, account in accounts.items()},
            answered={name: account.published + account.reused for name, account in accounts.items()},
        )
