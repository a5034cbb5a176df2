"""The GPU: whether PyTorch computes on it, and what its driver tells of it."""

import subprocess
import sys
from collections.abc import Iterator

from adainf.engines import devices
from adainf.errors import one_line
from adainfd.doctor.finding import Finding, ok, warn

__all__ = ["convolves", "examine"]

_CONVOLUTION_SECONDS = 60.0

# What is lost with a value that NVML does not tell.
_COSTS = {
    "gpu_utilization": "[contention] does not see other programs on the GPU",
    "gpu_foreign": "[contention] does not see other programs on the GPU",
    "gpu_memory_free": "the metrics do not tell free memory",
    "power_watts": "[power] does nothing",
    "power_fraction": "[power] does nothing",
    "temperature_celsius": "[heat] does nothing",
    "temperature_headroom_celsius": "the metrics do not tell how much hotter it may become",
    "throttled": "the metrics do not tell whether it slows itself down",
}


def examine() -> Iterator[Finding]:
    """Look at the GPU that is taken where no device is configured."""
    import pynvml

    try:
        pynvml.nvmlInit()
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())
        ]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        names = []
        told = one_line(error, 80)
        if "Not Found" in told:
            told = "no driver"
        yield ok("GPU", f"no NVIDIA GPU ({told}): the processors recognise, by ONNX Runtime")
    if names:
        yield ok("GPU", f"NVML tells of {', '.join(names)}")
        yield from _sensors()
    if names or devices.may_be_there():
        yield convolves("cuda")


def _sensors() -> Iterator[Finding]:
    """Each value that a policy or the metrics want."""
    from adainfd.sensors.nvml import GpuSensor

    sensor = GpuSensor(lambda: ())
    missing = sensor.missing()
    sensor.close()
    for name, why in missing.items():
        yield warn("GPU sensor", f"{name}: {why}; so {_COSTS[name]}", "a newer driver may tell it")
    if not missing:
        yield ok("GPU sensor", "load, processes, memory, power, heat and throttling are told")


def convolves(device: str) -> Finding:
    """A convolution on a device, in a process of its own: a driver that hangs, or kills it, is told of here.

    device: `cuda`, `cuda:1`…
    """
    remedy = f"a daemon with `device` left out recognises with the processors until {device} works"
    command = [sys.executable, "-m", "adainfd.doctor.convolution", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CONVOLUTION_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return warn("CUDA", f"a convolution on {device} takes more than {_CONVOLUTION_SECONDS:.0f} s", remedy)
    told = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [f"status {done.returncode}"]
    if done.returncode:
        return warn("CUDA", f"no convolution on {device}: {one_line(told[-1], 300)}", remedy)
    return ok("CUDA", told[-1])
