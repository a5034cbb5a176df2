import os
import time
from collections.abc import Mapping
from typing import Any

import pytest

from adainf.sensors.package import PackageSensor

RAPL = "sys/class/powercap/intel-rapl"
THERMAL = "sys/class/thermal/thermal_zone"
PACKAGES = {
    f"{RAPL}:0/name": "package-0",
    f"{RAPL}:0/energy_uj": 1_000_000,
    f"{RAPL}:0/max_energy_range_uj": 50_000_000,
    f"{RAPL}:0/constraint_0_power_limit_uw": 30_000_000,
    f"{RAPL}:1/name": "package-1",
    f"{RAPL}:1/energy_uj": 49_000_000,
    f"{RAPL}:1/max_energy_range_uj": 50_000_000,
    f"{RAPL}:1/constraint_0_power_limit_uw": 20_000_000,
    f"{RAPL}:0:0/name": "core",
    f"{RAPL}:0:0/energy_uj": 5,
    f"{RAPL}:2/name": "psys",
    f"{RAPL}:2/energy_uj": 5,
}
HEAT = {
    f"{THERMAL}0/type": "acpitz",
    f"{THERMAL}0/temp": 99000,
    f"{THERMAL}1/type": "x86_pkg_temp",
    f"{THERMAL}1/temp": 51000,
    f"{THERMAL}1/trip_point_0_type": "passive",
    f"{THERMAL}1/trip_point_0_temp": 0,
    f"{THERMAL}2/type": "x86_pkg_temp",
    f"{THERMAL}2/temp": 61500,
    f"{THERMAL}2/trip_point_0_type": "passive",
    f"{THERMAL}2/trip_point_0_temp": 95000,
}


def second_reading(root: Any, sensor: PackageSensor, used: Mapping[str, object]) -> tuple[Mapping[str, Any], float]:
    """A reading after `used` was told, and the seconds since the first."""
    sensor.read()
    begin = time.monotonic()
    root.write({**PACKAGES, **used})
    while time.monotonic() - begin < 0.05:
        pass
    values = sensor.read()
    return values, time.monotonic() - begin


def test_power_is_what_all_packages_used_since_the_last_reading(root: Any) -> None:
    root.write(PACKAGES)
    used = {f"{RAPL}:0/energy_uj": 2_500_000, f"{RAPL}:1/energy_uj": 500_000}  # the second has begun anew
    values, seconds = second_reading(root, PackageSensor(root.folder), used)
    assert values["power_watts"] == pytest.approx((1.5 + 1.5) / seconds, rel=0.2)
    assert values["power_fraction"] == pytest.approx(values["power_watts"] / 50, rel=0.01)


def test_first_power_is_not_known_yet(root: Any) -> None:
    root.write({**PACKAGES, **HEAT})
    sensor = PackageSensor(root.folder)
    values = sensor.read()
    assert values["power_watts"] is values["power_fraction"] is None
    assert sensor.lost == {}


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj"])
def test_power_that_cannot_be_read(root: Any, file: str) -> None:
    root.write({**PACKAGES, f"{RAPL}:0/energy_uj": 9_000_000})
    root.replace_by_folder(f"{RAPL}:0/{file}")
    sensor = PackageSensor(root.folder)
    sensor.read()
    root.write({name: content for name, content in PACKAGES.items() if not name.endswith(f"0/{file}")})
    assert sensor.read()["power_watts"] is None
    assert file in sensor.lost["power_watts"]
    assert file in sensor.lost["power_fraction"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_power_for_root_only(root: Any) -> None:
    root.write(PACKAGES)
    (root.folder / f"{RAPL}:0/energy_uj").chmod(0)
    sensor = PackageSensor(root.folder)
    assert sensor.read()["power_watts"] is None
    assert sensor.lost["power_watts"].endswith("energy_uj: Permission denied")


def test_packages_without_a_limit(root: Any) -> None:
    root.write(PACKAGES)
    (root.folder / f"{RAPL}:1/constraint_0_power_limit_uw").unlink()
    sensor = PackageSensor(root.folder)
    values, _ = second_reading(root, sensor, {f"{RAPL}:0/energy_uj": 2_000_000, f"{RAPL}:2/name": "psys"})
    assert values["power_watts"] > 0
    assert sensor.lost.keys() == {"temperature_celsius"}


def test_hottest_package_counts(root: Any) -> None:
    root.write({**PACKAGES, **HEAT})
    values = PackageSensor(root.folder).read()
    assert values["temperature_celsius"] == 61.5
    assert values["temperature_headroom_celsius"] == 33.5


@pytest.mark.parametrize("kind", ["cpu-thermal", "cpu_thermal", "CPU-therm", "cpu0-thermal", "soc-thermal"])
def test_zones_of_other_boards(root: Any, kind: str) -> None:
    root.write({f"{THERMAL}0/type": kind, f"{THERMAL}0/temp": 48000})
    sensor = PackageSensor(root.folder)
    values = sensor.read()
    assert values["temperature_celsius"] == 48
    assert values["temperature_headroom_celsius"] is None
    assert "passive" in sensor.lost["temperature_headroom_celsius"]


def test_box_that_tells_neither_says_so_once_each(root: Any) -> None:
    sensor = PackageSensor(root.folder)
    assert set(sensor.read().values()) == {None}
    assert sensor.lost.keys() == {"power_watts", "temperature_celsius"}
