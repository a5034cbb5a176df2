"""The run queue: threads that run on a processor or wait for one."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from adainf.sensors.values import SensorValues, UntoldError, Value, number, read_text

__all__ = ["RunQueue"]

_RUNNING = "procs_running "
_WINDOW_SECONDS = 0.5
_PROC = Path("/proc")


class RunQueue:
    """A counter of other programs' runnable threads (running or waiting), averaged over the last half second."""

    def __init__(self, own_processes: Callable[[], Iterable[int]], proc: Path = _PROC) -> None:
        """own_processes: ids of the processes whose threads count as this program's own."""
        self._own_processes = own_processes
        self._proc = proc
        self._history: deque[tuple[float, int]] = deque()
        self.lost: dict[str, str] = {}

    def read(self) -> dict[str, Value | None]:
        """Return `cpu_queue`, threads per processor: above 1, some of them wait."""
        answers = SensorValues()
        answers.ask("cpu_queue", self._queue)
        self.lost = answers.lost
        return answers.values

    def _queue(self) -> float:
        path = self._proc / "stat"
        lines = read_text(path).splitlines()
        count = next((line.removeprefix(_RUNNING) for line in lines if line.startswith(_RUNNING)), None)
        if count is None:
            raise UntoldError(f"{path}: no procs_running")
        running = number(count, path)
        now = time.monotonic()
        self._history.append((now, running - self._own_running(running)))
        while now - self._history[0][0] > _WINDOW_SECONDS:
            self._history.popleft()
        return round(sum(others for _, others in self._history) / len(self._history) / (os.cpu_count() or 1), 4)

    def _own_running(self, most: int) -> int:
        """Return the number of this program's running threads; stops counting at `most`."""
        if most <= 1:
            return most  # the thread that reads this
        own = 0
        for process in self._own_processes():
            tasks = f"{self._proc}/{process}/task"
            try:
                threads = os.listdir(tasks)  # noqa: PTH208 -- ten times a second for each of this program's threads
            except OSError:
                continue  # the process has ended
            for thread in threads:
                own += _runs(f"{tasks}/{thread}/stat")
                if own >= most:
                    return most
        return own


def _runs(path: str) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # the thread has ended
    try:
        return os.read(file, 512).rpartition(b") ")[2][:1] == b"R"
    except OSError:
        return False
    finally:
        os.close(file)
