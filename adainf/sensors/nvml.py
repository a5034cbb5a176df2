"""The NVIDIA GPU, by NVML: its load and who makes it, memory, power, heat, and whether it slows itself down."""

import contextlib
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pynvml

from adainf.sensors.values import SensorValues, UntoldError, Value, fraction, share

__all__ = ["GpuSensor"]

_LOOK_AGAIN_SECONDS = 10.0
# The driver samples the shares of processes between six times and once a second, each process at its own moments.
_WINDOW_SECONDS = 1.0
_PROC = Path("/proc")
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO of the kernel's proc_ns.h

_VALUES = (
    "gpu_utilization",
    "gpu_foreign",
    "gpu_memory_free",
    "power_watts",
    "power_fraction",
    "temperature_celsius",
    "temperature_headroom_celsius",
    "throttled",
)

# nvmlClocksEventReason…: the other bits (idle, set clocks, display, several GPUs in step) take nothing from our work.
_THROTTLE_BITS = {
    0x004: "power",
    0x008: "hardware",
    0x020: "thermal",
    0x040: "hardware_thermal",
    0x080: "hardware_power_brake",
    0x200: "board_limit",
    0x400: "reliability",
}

# This library or this driver lacks the function: one of the same meaning may be there.
_TRY_ANOTHER = (
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)


class GpuSensor:
    """Reads one GPU. What NVML does not tell is None and stands in `lost`.

    A GPU that is not there, or of which not one value is told any more, is looked for again every ten seconds.
    found: whether it has ever been there.
    """

    def __init__(
        self,
        own_processes: Callable[[], Iterable[int]],
        device: str | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
        proc: Path = _PROC,
    ) -> None:
        """own_processes: ids of the processes whose load is ours.

        device: index or UUID (or the beginning of one), by default the first. As with CUDA, an index counts within
        CUDA_VISIBLE_DEVICES where `environment` has it; where CUDA orders different GPUs by speed, not by bus
        (CUDA_DEVICE_ORDER), only a UUID is sure to be the same GPU.
        """
        self._own_processes = own_processes
        self._wanted = self._open_as = device or "0"
        self._visible = environment.get("CUDA_VISIBLE_DEVICES")
        self._look_again_seconds = look_again_seconds
        self._look_at = -math.inf
        self._initialised = False
        self._handle: Any = None
        self._numbered_apart = _numbered_apart(proc)
        self.found = False
        self.lost: dict[str, str] = {}

    def watch(self, device: str) -> None:
        """From the next reading on, watch this GPU: an index or UUID. May be called by another thread."""
        self._wanted = device

    def read(self) -> dict[str, Value | None]:
        """All values of this sensor by their names in `Readings`, each None where it is not told."""
        if self._wanted != self._open_as:
            self.close()
            self._open_as, self._look_at = self._wanted, -math.inf
        if self._handle is None and not self._open():
            return dict.fromkeys(_VALUES)
        answers = SensorValues()
        answers.ask("gpu_utilization", self._utilization)
        answers.derive("gpu_foreign", "gpu_utilization", self._foreign)
        answers.ask("gpu_memory_free", self._memory_free)
        answers.ask("power_watts", self._watts)
        answers.derive("power_fraction", "power_watts", self._power_fraction)
        answers.ask("temperature_celsius", self._celsius)
        answers.derive("temperature_headroom_celsius", "temperature_celsius", self._headroom)
        answers.ask("throttled", self._throttled)
        self.lost = answers.lost
        if len(self.lost) == len(_VALUES):
            self.close()
        return answers.values

    def missing(self) -> dict[str, str]:
        """The values that NVML does not tell, and why; also those that are needed only while the GPU is busy."""
        self.read()
        lost = dict(self.lost)
        if self._handle is not None and not lost.keys() & {"gpu_utilization", "gpu_foreign"}:
            try:
                self._used_by_process()
            except UntoldError as reason:
                if "Not Found" not in str(reason):  # nobody has used it of late
                    lost["gpu_foreign"] = str(reason)
        return lost

    def close(self) -> None:
        """Let go of NVML."""
        self._handle = None
        if self._initialised:
            self._initialised = False
            with contextlib.suppress(pynvml.NVMLError):  # the driver may have gone before us
                pynvml.nvmlShutdown()

    def _open(self) -> bool:
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + self._look_again_seconds
        try:
            wanted = _among_visible(self._open_as, self._visible)
            _call(("nvmlInit",))
            self._initialised = True
            self._handle = _find(wanted)
        except UntoldError as reason:
            self.close()
            names = _VALUES if self.found else _VALUES[:1]
            self.lost = dict.fromkeys(names, f"no NVIDIA GPU ({reason})")
            return False
        self.found = True
        return True

    def _ask(self, *names: str, arguments: tuple[Any, ...] = ()) -> Any:
        return _call(names, self._handle, *arguments)

    def _utilization(self) -> float:
        return share(self._ask("nvmlDeviceGetUtilizationRates").gpu / 100)

    def _foreign(self, total: float) -> float:
        """How much of `total` is of others, in proportion to what was sampled of each process in the last second."""
        if self._numbered_apart:
            raise UntoldError("the driver numbers processes unlike this container; run it with the host's (--pid=host)")
        if total == 0:
            return 0.0
        own = set(self._own_processes())
        try:
            used = self._used_by_process()
            reason = "no process was sampled"
        except UntoldError as error:  # also where nobody used it for a while
            used = {}
            reason = str(error)
        everybody = sum(used.values())
        if everybody > 0:
            return share(total * sum(percent for pid, percent in used.items() if pid not in own) / everybody)
        running = {
            process.pid
            for process in self._ask(
                "nvmlDeviceGetComputeRunningProcesses_v3",
                "nvmlDeviceGetComputeRunningProcesses_v2",
                "nvmlDeviceGetComputeRunningProcesses",
            )
        }
        if not running & own:
            return total
        if running <= own:
            return 0.0
        raise UntoldError(f"other processes are on the GPU beside ours, and not how busy each is ({reason})")

    def _used_by_process(self) -> dict[int, float]:
        """Per cent by process id: the mean of its samples of the last second."""
        since = int((time.time() - _WINDOW_SECONDS) * 1e6)
        by_process: defaultdict[int, list[int]] = defaultdict(list)
        for sample in self._ask("nvmlDeviceGetProcessUtilization", arguments=(since,)):
            # Drivers pad the answer with old and made-up samples (github.com/Syllo/nvtop/issues/110).
            if sample.pid and sample.timeStamp > since and sample.smUtil <= 100:
                by_process[sample.pid].append(sample.smUtil)
        return {pid: sum(percents) / len(percents) for pid, percents in by_process.items()}

    def _memory_free(self) -> float:
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return fraction(memory.free, memory.total)

    def _watts(self) -> float:
        return float(self._ask("nvmlDeviceGetPowerUsage") / 1000)

    def _power_fraction(self, watts: float) -> float:
        return fraction(watts, self._ask("nvmlDeviceGetEnforcedPowerLimit") / 1000)

    def _celsius(self) -> float:
        names = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
        return float(self._ask(*names, arguments=(pynvml.NVML_TEMPERATURE_GPU,)))

    def _headroom(self, celsius: float) -> float:
        try:
            return float(self._ask("nvmlDeviceGetMarginTemperature"))
        except UntoldError:  # GPUs before Ada tell the threshold instead
            slowdown = (pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,)
            return float(self._ask("nvmlDeviceGetTemperatureThreshold", arguments=slowdown)) - celsius

    def _throttled(self) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return tuple(name for bit, name in _THROTTLE_BITS.items() if bits & bit)


def _call(names: tuple[str, ...], *arguments: Any) -> Any:
    """The answer of the first function of `names` that this library and this driver have."""
    reason = f"this nvidia-ml-py has no {names[0]}"
    for name in names:
        function = getattr(pynvml, name, None)
        if function is None:
            continue
        try:
            return function(*arguments)
        except pynvml.NVMLError as error:
            reason = _reason(error)
            if error.value not in _TRY_ANOTHER:
                break
    raise UntoldError(reason)


def _reason(error: Exception) -> str:
    return f"NVML: {str(error).rstrip('.')}"


def _among_visible(wanted: str, visible: str | None) -> str:
    """Index or UUID of the GPU that CUDA would mean by `wanted`."""
    if visible is None or not wanted.isdecimal():
        return wanted
    names = [name.strip() for name in visible.split(",")]
    index = int(wanted)
    chosen = names[index] if index < len(names) else ""
    if not chosen.isdecimal() and not chosen.startswith(("GPU-", "MIG-")):
        raise UntoldError(f"CUDA_VISIBLE_DEVICES={visible} shows no device {wanted}")
    return chosen


def _find(wanted: str) -> Any:
    """The device of an index, a UUID or the beginning of a UUID."""
    if wanted.isdecimal():
        return _call(("nvmlDeviceGetHandleByIndex",), int(wanted))
    with contextlib.suppress(UntoldError):
        return _call(("nvmlDeviceGetHandleByUUID",), wanted)
    for index in range(_call(("nvmlDeviceGetCount",))):
        with contextlib.suppress(UntoldError):  # one broken GPU does not hide the others
            handle = _call(("nvmlDeviceGetHandleByIndex",), index)
            if _call(("nvmlDeviceGetUUID",), handle).startswith(wanted):
                return handle
    raise UntoldError(f"none is {wanted}")


def _numbered_apart(proc: Path) -> bool:
    # In a container of its own numbering, NVML gives the host's numbers, the container's, or in one driver both
    # (github.com/Project-HAMi/HAMi-core/issues/112): our own load would be taken for that of others.
    try:
        return str((proc / "self" / "ns" / "pid").readlink()) != _FIRST_PID_NAMESPACE
    except OSError:
        return False
