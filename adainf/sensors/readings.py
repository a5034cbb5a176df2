"""All sensors combined, read ten times a second off the frames' critical path."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adainf.base.hindrances import Watched
from adainf.sensors.cpu import ProcessorSensor
from adainf.sensors.jetson import JetsonGpu
from adainf.sensors.nvml import GpuSensor
from adainf.sensors.package import PackageSensor
from adainf.sensors.run_queue import RunQueue
from adainf.sensors.values import Sensor

__all__ = ["Readings", "Sensors"]

_INTERVAL_SECONDS = 0.1
_STALE_SECONDS = 2.0
_BACK_SECONDS = 60.0
_JOIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The latest reading of every sensor, as shares from 0 to 1 unless a unit is named; None is unknown.

    at: time of the reading, monotonic seconds; None before the first.
    gpu_utilization: the GPU's load. gpu_foreign: the part of it caused by other programs.
    gpu_memory_free: unused share of the GPU's memory.
    cpu_pressure: share of the time in which some program waited for a processor.
    cpu_foreign: share of the processors' time used by other programs.
    cpu_queue: runnable threads of other programs (running or waiting) per processor; may be above 1.
    Of the GPU, or of the processors if no GPU was ever found:
    power_watts: of the GPU's board, a Jetson's module, or the processors. power_fraction: of their power limit.
    temperature_celsius: at the hottest place. temperature_headroom_celsius: how far that is below the throttling
    temperature; negative above it. throttled: the current reasons for throttling, empty if there are none: `power`,
    `thermal`, `hardware`, `hardware_thermal`, `hardware_power_brake`, `board_limit`, `reliability`.
    """

    at: float | None = None
    gpu_utilization: float | None = None
    gpu_foreign: float | None = None
    gpu_memory_free: float | None = None
    cpu_pressure: float | None = None
    cpu_foreign: float | None = None
    cpu_queue: float | None = None
    power_watts: float | None = None
    power_fraction: float | None = None
    temperature_celsius: float | None = None
    temperature_headroom_celsius: float | None = None
    throttled: tuple[str, ...] | None = None


class Sensors:
    """All sensors, read in a background thread between `start` and `stop`; `latest` never blocks."""

    def __init__(
        self,
        own_processes: Callable[[], Iterable[int]],
        lost: Callable[[str, str], None],
        *,
        device: str | None = None,
        root: Path = Path("/"),
    ) -> None:
        """Make the first reading.

        own_processes: ids of the processes whose load counts as this program's own. lost: called once with the name
        and reason of each value that is unavailable, possibly from the sensors' thread; a GPU that was never found is a
        single value. device: index or UUID of the NVIDIA GPU. root: stands in for /.
        """
        self._gpu = JetsonGpu.find(root) or GpuSensor(own_processes, device, proc=root / "proc")
        self._package = PackageSensor(root)
        self._processors = (ProcessorSensor(own_processes, root / "proc"), RunQueue(own_processes, root / "proc"))
        self._losses = _Losses(lost)
        self._latest = self._read()
        self._stop = threading.Event()
        self._started = False
        self.thread = Watched("sensors", self._run)
        """Only a defect ends it; failures to read are expected of every sensor."""

    @property
    def latest(self) -> Readings:
        """The latest reading; all unknown once it is over two seconds old, as when a driver hangs."""
        latest = self._latest
        if self._started and latest.at is not None and time.monotonic() - latest.at > _STALE_SECONDS:
            return Readings(at=latest.at)
        return latest

    def watch(self, device: str) -> None:
        """Read this NVIDIA GPU from now on: an index or UUID."""
        if isinstance(self._gpu, GpuSensor):
            self._gpu.watch(device)

    def start(self) -> None:
        """Start reading."""
        self._started = True
        self.thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self._latest = self._read()

    def _read(self) -> Readings:
        now = time.monotonic()
        gpu = self._gpu.read()
        # The processors' power and temperature represent the box only if no GPU was ever found.
        others: tuple[Sensor, ...] = self._processors if self._gpu.found else (*self._processors, self._package)
        values: dict[str, Any] = dict(gpu)
        lost = dict(self._gpu.lost)
        for sensor in others:
            values.update(sensor.read())
            lost.update(sensor.lost)
        self._losses.tell(lost, now)
        return Readings(at=now, **values)

    def stop(self) -> None:
        """Stop reading. A thread stuck in a hung driver is abandoned."""
        self.thread.leave()
        self._stop.set()
        self._started = False
        if self.thread.join(_JOIN_SECONDS):
            self._gpu.close()


class _Losses:
    """A log of lost values: reports each once, and again only after it was back for a minute, to keep the log short."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._last_lost: dict[str, float] = {}

    def tell(self, lost: Mapping[str, str], now: float) -> None:
        """Report the values that are newly lost. lost: the reason by value. now: monotonic seconds."""
        for name, reason in lost.items():
            last = self._last_lost.get(name)
            self._last_lost[name] = now
            if last is None or now - last >= _BACK_SECONDS:
                self._tell(name, reason)
