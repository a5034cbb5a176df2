"""The GPU of an NVIDIA Jetson, read from kernel files: load, power and temperature. NVML reports little there."""

import contextlib
import re
from pathlib import Path

from adainf.sensors.thermal import Thermometer
from adainf.sensors.values import SensorValues, UntoldError, Value, read_number, read_text, share

__all__ = ["JetsonGpu"]

_LOADS = (
    "sys/devices/gpu.0/load",
    "sys/devices/platform/*gpu*/load",
    "sys/class/devfreq/*.g[apv]*/device/load",  # 17000000.gpu, .ga10b, .gv11b, .gp10b
)
_RAILS = "sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in*_label"
_GPU_ZONE = re.compile(r"gpu[-_]therm(al)?", re.IGNORECASE)
_WHOLE_MODULE = ("VDD_IN", "POM_5V_IN", "5V_IN")
_NO_RAIL = re.compile(r"NC|sum of .*", re.IGNORECASE)


class JetsonGpu:
    """A Jetson's only GPU. Values that no file reports are None and listed in `lost`."""

    found = True

    def __init__(self, load: Path, root: Path) -> None:
        """load: the file with the GPU's load. root: stands in for /."""
        self._load = load
        self._rails = list(_power_rails(root))
        self._thermometer = Thermometer("GPU", _GPU_ZONE, root)
        self.lost: dict[str, str] = {}

    @classmethod
    def find(cls, root: Path = Path("/")) -> "JetsonGpu | None":
        """Return the sensor of this box's GPU; None if the box is no Jetson."""
        load = next((path for pattern in _LOADS for path in sorted(root.glob(pattern))), None)
        return None if load is None else cls(load, root)

    def read(self) -> dict[str, Value | None]:
        """Return a GPU's values by their names in `Readings`, each None where unknown."""
        answers = SensorValues()
        answers.ask("gpu_utilization", lambda: share(read_number(self._load) / 1000))
        answers.lose("gpu_foreign", "a Jetson tells its GPU's load only as a whole")
        answers.lose("gpu_memory_free", "a Jetson's GPU shares the processors' memory")
        answers.ask("power_watts", self._watts)
        answers.lose("power_fraction", "a Jetson tells no limit of its power")
        self._thermometer.tell(answers)
        answers.lose("throttled", "a Jetson does not tell it")
        self.lost = answers.lost
        return answers.values

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def _watts(self) -> float:
        """Return the power of the whole module if a rail measures it, else the sum of all rails."""
        if not self._rails:
            raise UntoldError("no INA3221 power monitor is there")
        return round(sum(read_number(volt) * read_number(ampere) / 1e6 for volt, ampere in self._rails), 3)


def _power_rails(root: Path) -> list[tuple[Path, Path]]:
    """Return the (millivolt, milliampere) files of the rails that add up to the power."""
    rails: dict[str, tuple[Path, Path]] = {}
    for label in sorted(root.glob(_RAILS)):
        number = label.name.removeprefix("in").removesuffix("_label")
        with contextlib.suppress(UntoldError):
            rails[read_text(label)] = (label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input"))
    whole = next((rails[name] for name in _WHOLE_MODULE if name in rails), None)
    return [whole] if whole else [files for name, files in rails.items() if not _NO_RAIL.fullmatch(name)]
