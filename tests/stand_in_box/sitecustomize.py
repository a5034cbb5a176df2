"""Gives a program a GPU where there is none: with this folder on its path, a stand-in takes a GPU's place.

The folder that ADAINF_STAND_IN names says what it does: where it holds `broken`, the GPU cannot be used; where it holds
`full`, its memory runs out once the weights are rounded; while it holds `wait`, nothing is recorded; while it holds
`wait-after-first`, no more than the first.
"""

import os
import time
from pathlib import Path
from typing import Any

from adainf import engines
from adainf.base.errors import UnavailableError
from adainf.engines import OutOfMemoryError, devices

_FOLDER = Path(os.environ["ADAINF_STAND_IN"])


def _load_gpu(networks: Any, device: str) -> Any:
    from stand_in_gpu import Processor

    from adainf.engines.gpu.engine import GpuEngine

    if (_FOLDER / "broken").exists():
        raise UnavailableError(f"device {device!r}: its driver is too old; update the driver")

    if (_FOLDER / "full").exists():
        for network in networks.values():
            network.half()
        raise OutOfMemoryError(f"device {device!r}: out of memory")

    class Waiting(Processor):
        def record(self, forward: Any, given: Any) -> Any:
            while (_FOLDER / "wait").exists() or (self.recorded and (_FOLDER / "wait-after-first").exists()):
                time.sleep(0.01)
            return super().record(forward, given)

    return GpuEngine(networks, Waiting())


devices.may_be_there = lambda: True
devices.uuid = lambda _: "GPU-none"
engines._load_gpu = _load_gpu
