"""What keeps the daemon from doing all that it should: told while it lasts, and counted where something is lost.

A part that may be hindered says so itself; it is asked at every turn of the main loop, and told to try again at every
heartbeat. The status, its line for systemd, the heartbeat and the metrics all say the same.
"""

import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping

from adainf.base.errors import one_line

__all__ = ["Hindered", "Hindrances", "Watched"]


class Hindered:
    """A part of the daemon that may be unable to do all that it should; override what applies."""

    @property
    def hindrance(self) -> str | None:
        """Why it cannot, in a few words; None where it can."""
        return None

    @property
    def defect(self) -> str | None:
        """Why only a restart helps, with all that a report should have; None where it is no defect."""
        return None

    @property
    def lost(self) -> Mapping[str, int]:
        """How many things it has not done since the start, by kind."""
        return {}

    def retry(self) -> None:
        """Try again what could not be done."""


class Hindrances:
    """All parts that may be hindered."""

    def __init__(self) -> None:
        self._parts: list[Hindered] = []

    def watch(self, part: Hindered) -> None:
        """From now on ask this part too."""
        self._parts.append(part)

    @property
    def hindered(self) -> tuple[Hindered, ...]:
        """The parts that cannot do all that they should."""
        return tuple(part for part in self._parts if part.hindrance is not None)

    @property
    def defects(self) -> tuple[str, ...]:
        """What only a restart mends."""
        return tuple(defect for part in self._parts if (defect := part.defect) is not None)

    @property
    def text(self) -> str | None:
        """All reasons on one line; None where there are none."""
        return "; ".join(reason for part in self._parts if (reason := part.hindrance) is not None) or None

    @property
    def lost(self) -> dict[str, int]:
        """How many things were not done since the start, by kind."""
        return dict(sum((Counter(part.lost) for part in self._parts), Counter[str]()))

    def retry(self) -> None:
        """Let every part try again."""
        for part in self._parts:
            part.retry()


class Watched(Hindered):
    """Work in a thread of its own. Its end before `leave` is a defect: it is kept here for whoever asks."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        """work: returns only after it was asked to, by a means of its own."""
        self._name = name
        self._work = work
        self._failure: BaseException | None = None
        self._started = self._left = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._started = True
        self._thread.start()

    def leave(self) -> None:
        """From now on the work may end."""
        self._left = True

    def join(self, seconds: float) -> bool:
        """Wait for the end, for so long at most; whether it has come."""
        if self._started:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    @property
    def hindrance(self) -> str | None:
        """Why it has ended before anybody asked it to."""
        if not self._started or self._left or self._thread.is_alive():
            return None
        why = "nobody asked it to" if self._failure is None else _told(self._failure)
        return f"the thread {self._name} has ended ({why})"

    @property
    def defect(self) -> str | None:
        """The same, with where that was."""
        if (hindrance := self.hindrance) is None or self._failure is None:
            return hindrance
        return f"{hindrance}\n{''.join(traceback.format_exception(self._failure))}"

    def check(self) -> None:
        """Raise what ended it before anybody asked it to."""
        if self.hindrance is not None:
            raise self._failure or RuntimeError(self.hindrance)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # whatever it is, `hindrance` says it
            self._failure = failure


def _told(failure: BaseException) -> str:
    return one_line(f"{type(failure).__name__}: {failure}".removesuffix(": "), 200)
