"""Training progress on stderr: a bar on a terminal, a plain line every 5 seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adainf.base import output
from adainf.training.checkpoint import Progress

__all__ = ["Tell", "progress_shown"]

_SECONDS_BETWEEN_LINES = 5.0

Tell = Callable[[float, Progress, float], None]
"""Callback for progress reports: the completed fraction (0..1), the progress, and pictures per second."""


@contextmanager
def progress_shown(*, silent: bool) -> Iterator[Tell]:
    """Yield a callback that displays progress within the context.

    silent: the callback does nothing.
    """
    if silent:
        yield lambda _done, _progress, _rate: None
    elif sys.stderr.isatty():
        from rich import progress as bars

        columns = (bars.BarColumn(), bars.TextColumn("{task.description}", markup=False), bars.TimeRemainingColumn())
        with bars.Progress(*columns, console=output.console(stderr=True)) as shown:
            task = shown.add_task("first step", total=1.0)
            yield lambda done, progress, rate: shown.update(
                task, completed=done, description=_described(progress, rate)
            )
    else:
        yield _StepLines().tell


class _StepLines:
    def __init__(self) -> None:
        self.started = self.said = time.monotonic()
        self.done_before: float | None = None

    def tell(self, done: float, progress: Progress, rate: float) -> None:
        now = time.monotonic()
        if self.done_before is None:
            self.started, self.done_before = now, done
        if now - self.said >= _SECONDS_BETWEEN_LINES and done > self.done_before:
            self.said = now
            seconds_left = (1 - done) * (now - self.started) / (done - self.done_before)
            output.say(f"{_described(progress, rate)}, {max(0.0, seconds_left):.0f} s left")


def _described(progress: Progress, rate: float) -> str:
    return (
        f"step {progress.step}: loss {progress.loss:.4f}, agreement {progress.agreement:.1%}, "
        f"{rate:.1f} images a second"
    )
