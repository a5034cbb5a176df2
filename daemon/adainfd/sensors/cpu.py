"""The processors: how much other programs use them, and whether anyone waits for one."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessorSensor"]

# The kernel counts a processor's time in ticks of 10 ms: at two processors half a second resolves one per cent.
_WINDOW_SECONDS = 0.5
_PROC = Path("/proc")
_IDLE_COLUMNS = (3, 4)  # idle, iowait in /proc/stat
_GUEST_COLUMNS = 8  # what follows is counted in the columns before already


@dataclass(frozen=True, slots=True)
class _Counters:
    """Totals since boot. at: monotonic seconds; busy, own: ticks; waited: microseconds, None if not told."""

    at: float
    busy: int
    own: int
    waited: int | None


class ProcessorSensor:
    """Reads /proc; shares are over the last half second."""

    def __init__(self, own_processes: Callable[[], Iterable[int]], proc: Path = _PROC) -> None:
        """own_processes: ids of the processes whose load is ours."""
        self._own_processes = own_processes
        self._proc = proc
        self._ticks_a_second = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1)
        self._history: deque[_Counters] = deque()
        self._own_ticks: dict[int, int] = {}
        self.lost = {"cpu_pressure": f"{proc}/pressure/cpu is missing"} if self._waited() is None else {}

    def read(self) -> dict[str, float | None]:
        """`cpu_pressure` and `cpu_foreign`, shares from 0 to 1, None where unknown yet."""
        now = _Counters(time.monotonic(), self._busy(), self._own(), self._waited())
        self._history.append(now)
        while len(self._history) > 1 and now.at - self._history[1].at >= _WINDOW_SECONDS:
            self._history.popleft()
        then = self._history[0]
        elapsed = now.at - then.at
        if elapsed <= 0:
            return {"cpu_pressure": None, "cpu_foreign": None}
        foreign = (now.busy - then.busy - (now.own - then.own)) / (elapsed * self._ticks_a_second)
        waited = None if now.waited is None or then.waited is None else (now.waited - then.waited) / 1e6 / elapsed
        return {"cpu_pressure": waited if waited is None else _share(waited), "cpu_foreign": _share(foreign)}

    def _busy(self) -> int:
        first = (self._proc / "stat").read_text(encoding="ascii").partition("\n")[0]
        columns = [int(column) for column in first.split()[1 : 1 + _GUEST_COLUMNS]]
        return sum(columns) - sum(columns[index] for index in _IDLE_COLUMNS)

    def _own(self) -> int:
        for process in self._own_processes():
            try:
                status = (self._proc / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # ended meanwhile
            user, system = status.rpartition(")")[2].split()[11:13]
            self._own_ticks[process] = int(user) + int(system)
        # What an ended process has used stays counted: it would otherwise look like the load of others.
        return sum(self._own_ticks.values())

    def _waited(self) -> int | None:
        try:
            some = (self._proc / "pressure" / "cpu").read_text(encoding="ascii").partition("\n")[0]
        except OSError:
            return None  # a kernel without pressure stall information, or one told not to show it
        return int(some.rpartition("total=")[2])


def _share(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 4)
