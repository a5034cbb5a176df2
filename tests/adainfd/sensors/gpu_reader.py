"""Reads the GPU sensor in a process of its own, where LD_LIBRARY_PATH has put another NVML.

A line of JSON in, {"method": {its arguments}} of Reader; a line of JSON out, what it returns.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pynvml

from adainf.sensors import Sensors
from adainf.sensors.nvml import GpuSensor


class Reader:
    """Keeps one sensor, or all of them, open between commands."""

    def __init__(self) -> None:
        self.gpu: GpuSensor | None = None
        self.sensors: Sensors | None = None
        self.told: list[list[str]] = []

    def open(self, own: list[int], proc: str, environment: dict[str, str], **more: Any) -> None:
        self.stop()
        self.gpu = GpuSensor(lambda: own, proc=Path(proc), environment=environment, **more)

    def watch(self, device: str) -> None:
        self.gpu.watch(device)

    def read(self) -> dict[str, Any]:
        return {"values": self.gpu.read(), "lost": self.gpu.lost, "found": self.gpu.found}

    @staticmethod
    def in_use() -> bool:
        try:
            pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError_Uninitialized:
            return False
        return True

    def start(self, own: list[int], root: str) -> None:
        self.stop()
        self.told.clear()
        self.sensors = Sensors(lambda: own, lambda name, why: self.told.append([name, why]), root=Path(root))
        self.sensors.start()

    def latest(self) -> dict[str, Any]:
        return {**asdict(self.sensors.latest), "told": self.told}

    def stop(self) -> None:
        if self.gpu is not None:
            self.gpu.close()
        if self.sensors is not None:
            self.sensors.stop()
        self.gpu = self.sensors = None


reader = Reader()
for line in sys.stdin:
    [(command, arguments)] = json.loads(line).items()
    print(json.dumps(getattr(reader, command)(**arguments)), flush=True)
