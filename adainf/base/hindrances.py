"""Hindrances: conditions that degrade the daemon, reported while they last, with counts of whatever is lost.

A part that may be hindered reports it itself. It is polled in every iteration of the main loop and asked to retry at
every heartbeat. The status, its line for systemd, the heartbeat and the metrics all agree.
"""

import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping

from adainf.base.errors import one_line

__all__ = ["Hindered", "Hindrances", "Watched"]


class Hindered:
    """A part of the daemon that may be unable to do all of its work; override what applies."""

    @property
    def hindrance(self) -> str | None:
        """A short reason why it is hindered; None if it is not."""
        return None

    @property
    def defect(self) -> str | None:
        """The reason why only a restart helps, with everything a bug report needs; None if there is no defect."""
        return None

    @property
    def lost(self) -> Mapping[str, int]:
        """The number of things left undone since startup, by kind."""
        return {}

    def retry(self) -> None:
        """Retry whatever failed."""


class Hindrances:
    """All parts that may be hindered."""

    def __init__(self) -> None:
        self._parts: list[Hindered] = []

    def watch(self, part: Hindered) -> None:
        """Include this part from now on."""
        self._parts.append(part)

    @property
    def hindered(self) -> tuple[Hindered, ...]:
        """The parts that are hindered now."""
        return tuple(part for part in self._parts if part.hindrance is not None)

    @property
    def defects(self) -> tuple[str, ...]:
        """The defects that only a restart fixes."""
        return tuple(defect for part in self._parts if (defect := part.defect) is not None)

    @property
    def text(self) -> str | None:
        """All reasons on one line; None if there are none."""
        return "; ".join(reason for part in self._parts if (reason := part.hindrance) is not None) or None

    @property
    def lost(self) -> dict[str, int]:
        """The number of things left undone since startup, by kind."""
        return dict(sum((Counter(part.lost) for part in self._parts), Counter[str]()))

    def retry(self) -> None:
        """Ask every part to retry."""
        for part in self._parts:
            part.retry()


class Watched(Hindered):
    """Work in a thread of its own. If it ends before `leave`, that is a defect, which is kept here."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        """work: must return only after it was asked to, by its own means."""
        self._name = name
        self._work = work
        self._failure: BaseException | None = None
        self._started = self._left = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._started = True
        self._thread.start()

    def leave(self) -> None:
        """Allow the work to end from now on."""
        self._left = True

    def join(self, seconds: float) -> bool:
        """Wait up to `seconds` for the thread to end; return whether it has."""
        if self._started:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def hindrance(self) -> str | None:
        """The reason why the thread ended unasked; None if it did not."""
        if not self._started or self._left or self._thread.is_alive():
            return None
        why = "nobody asked it to" if self._failure is None else _told(self._failure)
        return f"the thread {self._name} has ended ({why})"

    @property
    def defect(self) -> str | None:
        """The hindrance with its traceback."""
        if (hindrance := self.hindrance) is None or self._failure is None:
            return hindrance
        return f"{hindrance}\n{''.join(traceback.format_exception(self._failure))}"

    def check(self) -> None:
        """Raise the error that ended the thread unasked, if any."""
        if self.hindrance is not None:
            raise self._failure or RuntimeError(self.hindrance)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # `hindrance` reports it, whatever it is
            self._failure = failure


def _told(failure: BaseException) -> str:
    return one_line(f"{type(failure).__name__}: {failure}".removesuffix(": "), 200)
