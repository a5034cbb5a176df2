"""All sensors together, read ten times a second beside the frames' way."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from adainfd.sensors.cpu import ProcessorSensor
from adainfd.sensors.nvml import GpuSensor

__all__ = ["Readings", "Sensors"]

_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Readings:
    """The latest reading of every sensor, shares from 0 to 1; None is unknown.

    gpu_utilization: how busy the GPU is. gpu_foreign: how busy other programs keep it.
    cpu_pressure: share of the time in which some program waited for a processor.
    cpu_foreign: share of the processors' time that other programs used.
    """

    gpu_utilization: float | None = None
    gpu_foreign: float | None = None
    cpu_pressure: float | None = None
    cpu_foreign: float | None = None


class Sensors:
    """Reads the sensors in a thread of its own between `start` and `stop`; `latest` never waits."""

    def __init__(self, own_processes: Callable[[], Iterable[int]], lost: Callable[[str, str], None]) -> None:
        """own_processes: ids of the processes whose load is ours. lost: told once of each sensor that is not there."""
        self._cpu = ProcessorSensor(own_processes)
        self._gpu = GpuSensor(own_processes)
        self.latest = Readings()
        for sensor in (self._gpu, self._cpu):
            for name, reason in sensor.lost.items():
                lost(name, reason)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self.latest = replace(Readings(), **self._cpu.read(), **self._gpu.read())

    def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._gpu.close()
