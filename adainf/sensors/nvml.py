"""The NVIDIA GPU, read through NVML: load by process, memory, power, temperature and throttling."""

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
# The driver samples per-process load between once and six times a second, each process at its own moments.
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

# nvmlClocksEventReason…: the other bits (idle, set clocks, display, GPUs in step) do not slow inference down.
_THROTTLE_BITS = {
    0x004: "power",
    0x008: "hardware",
    0x020: "thermal",
    0x040: "hardware_thermal",
    0x080: "hardware_power_brake",
    0x200: "board_limit",
    0x400: "reliability",
}

# Errors after which another function with the same meaning may work: this library or this driver lacks the first.
_TRY_ANOTHER = (
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)


class GpuSensor:
    """A reader of one GPU. Values that NVML does not report are None and listed in `lost`.

    A GPU that is absent, or that has stopped reporting any value, is searched for again every ten seconds.
    found: whether it has ever been present.
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
        """own_processes: ids of the processes whose load counts as this program's own.

        device: index or UUID (or its beginning), by default the first GPU. As in CUDA, an index counts within
        CUDA_VISIBLE_DEVICES if `environment` has it. Where CUDA orders different GPUs by speed rather than by bus
        (CUDA_DEVICE_ORDER), only a UUID reliably names the same GPU.
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
        """Read this GPU from the next reading on: an index or UUID. May be called from another thread."""
        self._wanted = device

    def read(self) -> dict[str, Value | None]:
        """Return the sensor's values by their names in `Readings`, each None where unknown."""
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
        """Return the reason for each value that NVML does not report, even those needed only while the GPU is busy."""
        self.read()
        lost = dict(self.lost)
        if self._handle is not None and not lost.keys() & {"gpu_utilization", "gpu_foreign"}:
            try:
                self._used_by_process()
            except UntoldError as reason:
                if "Not Found" not in str(reason):  # "Not Found": no process has used the GPU lately
                    lost["gpu_foreign"] = str(reason)
        return lost

    def close(self) -> None:
        """Shut NVML down."""
        self._handle = None
        if self._initialised:
            self._initialised = False
            with contextlib.suppress(pynvml.NVMLError):  # the driver may already be unloaded
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
        """Return the foreign part of `total`, in proportion to each process's samples of the last second."""
        if self._numbered_apart:
            raise UntoldError("the driver numbers processes unlike this container; run it with the host's (--pid=host)")
        if total == 0:
            return 0.0
        own = set(self._own_processes())
        try:
            used = self._used_by_process()
            reason = "no process was sampled"
        except UntoldError as error:  # also raised after a while without any GPU load
            used = {}
            reason = str(error)
        sampled = sum(used.values())
        if sampled > 0:
            return share(total * sum(percent for pid, percent in used.items() if pid not in own) / sampled)
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
        """Return the mean per cent of the last second's samples, by process id."""
        since = int((time.time() - _WINDOW_SECONDS) * 1e6)
        by_process: defaultdict[int, list[int]] = defaultdict(list)
        for sample in self._ask("nvmlDeviceGetProcessUtilization", arguments=(since,)):
            # Drivers pad the result with old and made-up samples (github.com/Syllo/nvtop/issues/110).
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
        except UntoldError:  # GPUs before Ada report the threshold instead
            slowdown = (pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,)
            return float(self._ask("nvmlDeviceGetTemperatureThreshold", arguments=slowdown)) - celsius

    def _throttled(self) -> tuple[str, ...]:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return tuple(name for bit, name in _THROTTLE_BITS.items() if bits & bit)


def _call(names: tuple[str, ...], *arguments: Any) -> Any:
    """Call the first function of `names` that this library and this driver have, and return its result."""
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
    """Return the index or UUID of the GPU that CUDA would select for `wanted`."""
    if visible is None or not wanted.isdecimal():
        return wanted
    names = [name.strip() for name in visible.split(",")]
    index = int(wanted)
    chosen = names[index] if index < len(names) else ""
    if not chosen.isdecimal() and not chosen.startswith(("GPU-", "MIG-")):
        raise UntoldError(f"CUDA_VISIBLE_DEVICES={visible} shows no device {wanted}")
    return chosen


def _find(wanted: str) -> Any:
    """Return the device with an index, a UUID or the beginning of a UUID."""
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
    # In a container with its own PID namespace, NVML reports host PIDs, container PIDs, or with one driver both
    # (github.com/Project-HAMi/HAMi-core/issues/112), so this program's own load would count as foreign.
    try:
        return str((proc / "self" / "ns" / "pid").readlink()) != _FIRST_PID_NAMESPACE
    except OSError:
        return False
