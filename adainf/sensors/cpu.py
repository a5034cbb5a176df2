"""CPU sensor: the load of other programs, and whether anything waits for a processor."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from adainf.sensors.values import SensorValues, UntoldError, Value, number, read_text, share

__all__ = ["ProcessorSensor"]

# The kernel counts CPU time in ticks of 10 ms: with two processors, half a second resolves one per cent.
_WINDOW_SECONDS = 0.5
_PROC = Path("/proc")
_IDLE_COLUMNS = (3, 4)  # idle, iowait in /proc/stat
_GUEST_COLUMNS = 8  # guest time is already included in the columns before


class ProcessorSensor:
    """A reader of /proc; shares cover the last half second."""

    def __init__(self, own_processes: Callable[[], Iterable[int]], proc: Path = _PROC) -> None:
        """own_processes: ids of the processes whose load counts as this program's own."""
        self._own_processes = own_processes
        self._proc = proc
        ticks_a_second = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
        self._counters = {"cpu_pressure": (self._waited, 1_000_000), "cpu_foreign": (self._others, ticks_a_second)}
        self._history: deque[tuple[float, Mapping[str, Value | None]]] = deque()
        self._own_ticks: dict[int, int] = {}
        self.lost: dict[str, str] = {}

    def read(self) -> dict[str, Value | None]:
        """Return `cpu_pressure` and `cpu_foreign`, shares from 0 to 1; None while unknown."""
        counters = SensorValues()
        for name, (counter, _) in self._counters.items():
            counters.ask(name, counter)
        self.lost = counters.lost
        now = time.monotonic()
        self._history.append((now, counters.values))
        while len(self._history) > 1 and now - self._history[1][0] >= _WINDOW_SECONDS:
            self._history.popleft()
        then, before = self._history[0]
        return {
            name: _share_of(before[name], counters.values[name], (now - then) * a_second)
            for name, (_, a_second) in self._counters.items()
        }

    def _others(self) -> int:
        """Return the ticks that other programs have used since boot."""
        return self._busy() - self._own()

    def _busy(self) -> int:
        path = self._proc / "stat"
        first = read_text(path).partition("\n")[0]
        columns = [number(column, path) for column in first.split()[1 : 1 + _GUEST_COLUMNS]]
        if len(columns) <= max(_IDLE_COLUMNS):
            raise UntoldError(f"{path}: {first[:40]!r} is not the processors' line")
        return sum(columns) - sum(columns[index] for index in _IDLE_COLUMNS)

    def _own(self) -> int:
        for process in self._own_processes():
            path = self._proc / str(process) / "stat"
            try:
                ticks = [number(column, path) for column in read_text(path).rpartition(")")[2].split()[11:13]]
            except UntoldError:
                continue  # the process has ended
            self._own_ticks[process] = sum(ticks)
        # Ticks of ended processes stay counted: they would otherwise look like foreign load.
        return sum(self._own_ticks.values())

    def _waited(self) -> int:
        """Return the microseconds since boot in which some program waited. Not every kernel reports it."""
        path = self._proc / "pressure" / "cpu"
        return number(read_text(path).partition("\n")[0].rpartition("total=")[2], path)


def _share_of(before: Value | None, now: Value | None, whole: float) -> float | None:
    if not isinstance(before, int) or not isinstance(now, int) or whole <= 0:
        return None
    return share((now - before) / whole)
