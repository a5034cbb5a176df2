"""Checks of the GPU: whether PyTorch computes on it, and what its driver reports."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from adainf.base.errors import one_line
from adainf.engines import devices
from adainfd.doctor.finding import Finding, ok, warn

__all__ = ["convolves", "examine", "of_device"]

_CONVOLUTION_SECONDS = 60.0
_END_SECONDS = 1.0

# The effect of each value that NVML does not report.
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
    """Check the GPUs, and in particular the default one."""
    import pynvml

    try:
        pynvml.nvmlInit()
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount())
        ]
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        names = []
        reason = one_line(error, 80)
        if "Not Found" in reason:
            reason = "no driver"
        yield ok("GPU", f"no NVIDIA GPU ({reason}): the processors recognise, by ONNX Runtime")
    if names:
        yield ok("GPU", f"NVML tells of {', '.join(names)}")
    if devices.hidden():
        yield ok("CUDA", "CUDA_VISIBLE_DEVICES hides every GPU: the processors recognise")
    elif names or devices.may_be_there():
        yield from of_device("cuda")


def of_device(device: str) -> Iterator[Finding]:
    """Check what NVML reports about a GPU, and run a convolution on it. device: `cuda`, `cuda:1`…"""
    yield from _sensors(str(devices.index(device)))
    yield convolves(device)


def _sensors(device: str) -> Iterator[Finding]:
    """Check each value that policies and metrics use."""
    from adainf.sensors.nvml import GpuSensor

    sensor = GpuSensor(lambda: (), device)
    missing = sensor.missing()
    sensor.close()
    for name, why in missing.items():
        yield warn("GPU sensor", f"{name}: {why}; so {_COSTS[name]}", "a newer driver may tell it")
    if not missing:
        yield ok("GPU sensor", "load, processes, memory, power, heat and throttling are told")


def convolves(device: str) -> Finding:
    """Run a convolution on a device, in a separate process because a driver may hang or crash it.

    device: `cuda`, `cuda:1`…
    """
    remedy = f"a daemon with `device` left out recognises with the processors until {device} works"
    command = [sys.executable, "-m", "adainfd.doctor.convolution", device]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603
        try:
            status = process.wait(_CONVOLUTION_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a process stuck in the driver cannot be killed
                process.wait(_END_SECONDS)
            return warn("CUDA", f"a convolution on {device} takes more than {_CONVOLUTION_SECONDS:.0f} s", remedy)
        output.seek(0)
        lines = output.read().strip().splitlines() or [f"its process ends with {status}"]
    if status:
        return warn("CUDA", f"no convolution on {device}: {one_line(lines[-1], 300)}", remedy)
    return ok("CUDA", lines[-1])
