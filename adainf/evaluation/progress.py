"""Progress of a long command on stderr: a bar on a terminal, a plain line every 5 seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adainf.base import output
from adainf.training.ranks import Ranks

__all__ = ["progress"]

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress(what: str, total: int, done: int = 0, ranks: Ranks | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a callback that takes the number of items completed since its last call, out of `total`.

    ranks: processes that share the work evenly; the first process reports its own share as the progress of all.
    """
    if ranks is not None and not ranks.is_first:
        yield lambda _: None
        return
    if ranks is not None:
        total, done = total // ranks.count, done // ranks.count
    if sys.stderr.isatty():
        from rich import progress as bars

        columns = (bars.TextColumn("{task.description}", markup=False), bars.BarColumn(), bars.MofNCompleteColumn())
        with bars.Progress(*columns, bars.TimeRemainingColumn(), console=output.console(stderr=True)) as shown:
            task = shown.add_task(what, total=total, completed=done)
            yield lambda more: shown.advance(task, more)
    else:
        yield _Lines(what, total, done).advance


class _Lines:
    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.done = what, total, done
        self.done_before = done
        self.started = self.said = time.monotonic()

    def advance(self, more: int) -> None:
        self.done += more
        now = time.monotonic()
        if now - self.said >= _SECONDS_BETWEEN_LINES and self.done_before < self.done < self.total:
            self.said = now
            seconds_left = (self.total - self.done) * (now - self.started) / (self.done - self.done_before)
            output.say(f"{self.what}: {self.done} of {self.total}, {seconds_left:.0f} s left")
