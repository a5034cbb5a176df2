"""Threads that go on until they are ended: should one end by itself, the main loop notices."""

import threading
import traceback
from collections.abc import Callable

from adainf.base.hindrances import Hindered
from adainf.errors import one_line

__all__ = ["Watched"]


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
