"""All sensors together, read ten times a second beside the frames' way."""

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
    """The latest reading of every sensor, shares from 0 to 1 where no unit is named; None is unknown.

    at: when it was made, monotonic seconds; None before the first.
    gpu_utilization: how busy the GPU is. gpu_foreign: how busy other programs keep it.
    gpu_memory_free: share of the GPU's memory that nobody uses.
    cpu_pressure: share of the time in which some program waited for a processor.
    cpu_foreign: share of the processors' time that other programs used.
    cpu_queue: threads of other programs that ran or waited to, a processor; may be above 1.
    Of the GPU, or of the processors where no GPU was ever there:
    power_watts: of the GPU's board, a Jetson's module, or the processors. power_fraction: of the limit set for it.
    temperature_celsius: the hottest place. temperature_headroom_celsius: how far that is below where it slows itself
    down, negative above. throttled: what slows it down now, none of them where nothing does: `power`, `thermal`,
    `hardware`, `hardware_thermal`, `hardware_power_brake`, `board_limit`, `reliability`.
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
    """Reads the sensors in a thread of its own between `start` and `stop`; `latest` never waits."""

    def __init__(
        self,
        own_processes: Callable[[], Iterable[int]],
        lost: Callable[[str, str], None],
        *,
        device: str | None = None,
        root: Path = Path("/"),
    ) -> None:
        """Make the first reading.

        own_processes: ids of the processes whose load is ours. lost: told name and reason of each value that nobody
        tells, once, from the sensors' thread too; a GPU that was never there is one value. device: index or UUID of
        the NVIDIA GPU. root: what stands for /.
        """
        self._gpu = JetsonGpu.find(root) or GpuSensor(own_processes, device, proc=root / "proc")
        self._package = PackageSensor(root)
        self._processors = (ProcessorSensor(own_processes, root / "proc"), RunQueue(own_processes, root / "proc"))
        self._losses = _Losses(lost)
        self._latest = self._read()
        self._stop = threading.Event()
        self._started = False
        self.thread = Watched("sensors", self._run)
        """A defect may end it, not a failure to read, which is expected of every sensor."""

    @property
    def latest(self) -> Readings:
        """The latest reading; all unknown where it is two seconds old, as when a driver hangs."""
        latest = self._latest
        if self._started and latest.at is not None and time.monotonic() - latest.at > _STALE_SECONDS:
            return Readings(at=latest.at)
        return latest

    def watch(self, device: str) -> None:
        """From now on read this NVIDIA GPU: an index or UUID."""
        if isinstance(self._gpu, GpuSensor):
            self._gpu.watch(device)

    def start(self) -> None:
        """Begin to read."""
        self._started = True
        self.thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self._latest = self._read()

    def _read(self) -> Readings:
        now = time.monotonic()
        gpu = self._gpu.read()
        # The processors' power and heat stand for the box only where no GPU was ever there.
        others: tuple[Sensor, ...] = self._processors if self._gpu.found else (*self._processors, self._package)
        values: dict[str, Any] = dict(gpu)
        lost = dict(self._gpu.lost)
        for sensor in others:
            values.update(sensor.read())
            lost.update(sensor.lost)
        self._losses.tell(lost, now)
        return Readings(at=now, **values)

    def stop(self) -> None:
        """Stop reading. A driver that hangs is left behind."""
        self.thread.leave()
        self._stop.set()
        self._started = False
        if self.thread.join(_JOIN_SECONDS):
            self._gpu.close()


class _Losses:
    """Tells of each lost value once; again only after it was back for a minute, so that no log fills with it."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._last_lost: dict[str, float] = {}

    def tell(self, lost: Mapping[str, str], now: float) -> None:
        """lost: the reason by value. now: monotonic seconds."""
        for name, reason in lost.items():
            last = self._last_lost.get(name)
            self._last_lost[name] = now
            if last is None or now - last >= _BACK_SECONDS:
                self._tell(name, reason)
