"""CPU packages as hardware: their power and temperature."""

import re
import time
from pathlib import Path

from adainf.sensors.thermal import Thermometer
from adainf.sensors.values import SensorValues, UntoldError, Value, fraction, read_number, text_matches

__all__ = ["PackageSensor"]

_PACKAGE = re.compile(r"package-.*")
_ZONE = re.compile(r"x86_pkg_temp|cpu\d*[-_]therm(al)?\d*|cpu|soc[-_]thermal", re.IGNORECASE)


class PackageSensor:
    """A reader of all packages' RAPL counters (Intel, AMD) and the processors' thermal zones."""

    def __init__(self, root: Path = Path("/")) -> None:
        """root: stands in for /."""
        self._folder = root / "sys" / "class" / "powercap"
        # The pattern also matches parts of packages, and on some boards the platform around them.
        zones = sorted(self._folder.glob("intel-rapl:*"))
        self._packages = [zone for zone in zones if text_matches(zone / "name", _PACKAGE)]
        self._thermometer = Thermometer("processors", _ZONE, root)
        self._before: tuple[float, list[int]] | None = None
        self.lost: dict[str, str] = {}

    def read(self) -> dict[str, Value | None]:
        """Return `power_watts` since the last reading, `power_fraction`, and the temperature with its headroom."""
        answers = SensorValues()
        answers.ask("power_watts", self._watts)
        if self._packages:
            answers.derive("power_fraction", "power_watts", self._power_fraction)
        else:
            answers.lose("power_fraction", None)
        self._thermometer.tell(answers)
        self.lost = answers.lost
        return answers.values

    def _watts(self) -> float | None:
        if not self._packages:
            raise UntoldError(f"{self._folder}: no intel-rapl is there")
        before, self._before = self._before, None  # a failed reading leaves no baseline
        counters = [read_number(package / "energy_uj") for package in self._packages]
        now = time.monotonic()
        self._before = now, counters
        if before is None or now <= before[0]:
            return None
        joules = sum(map(self._microjoules, self._packages, before[1], counters)) / 1e6
        return round(joules / (now - before[0]), 3)

    @staticmethod
    def _microjoules(package: Path, before: int, now: int) -> int:
        # The counter wraps to 0 after its maximum.
        return now - before if now >= before else now - before + read_number(package / "max_energy_range_uj")

    def _power_fraction(self, watts: float) -> float:
        limits = (read_number(package / "constraint_0_power_limit_uw") for package in self._packages)
        return fraction(watts, sum(limits) / 1e6)
