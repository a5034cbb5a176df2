"""The NVIDIA GPU, by NVML: how busy it is, and how busy other programs keep it."""

import time
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["GpuSensor"]

_UNKNOWN: dict[str, float | None] = {"gpu_utilization": None, "gpu_foreign": None}


class GpuSensor:
    """Reads the first GPU. Without a GPU, driver or permission it is silent, and `lost` says why."""

    def __init__(self, own_processes: Callable[[], Iterable[int]]) -> None:
        """own_processes: ids of the processes whose load is ours."""
        import pynvml

        self._own_processes = own_processes
        self._nvml: Any = pynvml
        self._device: Any = None
        self._seen = 0
        self.lost: dict[str, str] = {}
        try:
            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByIndex(0)
        except pynvml.NVMLError as error:
            self.lost = {"gpu_utilization": f"no NVIDIA GPU ({error})"}

    def read(self) -> dict[str, float | None]:
        """`gpu_utilization` and `gpu_foreign`, shares from 0 to 1, None where unknown."""
        if self._device is None:
            return _UNKNOWN
        try:
            total = self._nvml.nvmlDeviceGetUtilizationRates(self._device).gpu / 100
        except self._nvml.NVMLError:
            return _UNKNOWN
        own = self._own_share()
        return {"gpu_utilization": total, "gpu_foreign": None if own is None else max(0.0, total - own)}

    def _own_share(self) -> float | None:
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(self._device, self._seen)
        except self._nvml.NVMLError_NotFound:
            samples = []  # nobody has used it since we last asked
        except self._nvml.NVMLError:
            return None
        self._seen = max((sample.timeStamp for sample in samples), default=int(time.time() * 1e6))
        own = set(self._own_processes())
        percent: int = sum(sample.smUtil for sample in samples if sample.pid in own)
        return percent / 100

    def close(self) -> None:
        """Let go of NVML."""
        if self._device is not None:
            self._nvml.nvmlShutdown()
            self._device = None
