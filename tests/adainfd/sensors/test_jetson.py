from typing import Any

import pytest

from adainf.sensors.jetson import JetsonGpu

INA = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
ORIN_NANO = {
    "sys/devices/platform/bus@0/17000000.gpu/load": 437,
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": 71000,
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
    "sys/class/thermal/thermal_zone1/temp": 58250,
    "sys/class/thermal/thermal_zone1/trip_point_0_type": "critical",
    "sys/class/thermal/thermal_zone1/trip_point_0_temp": 104500,
    "sys/class/thermal/thermal_zone1/trip_point_1_type": "passive",
    "sys/class/thermal/thermal_zone1/trip_point_1_temp": 99000,
    f"{INA}/in1_label": "VDD_IN",
    f"{INA}/in1_input": 5000,
    f"{INA}/curr1_input": 1500,
    f"{INA}/in2_label": "VDD_CPU_GPU_CV",
    f"{INA}/in2_input": 5000,
    f"{INA}/curr2_input": 400,
    f"{INA}/in7_label": "sum of shunt voltages",
    f"{INA}/in7_input": 3,
}
TOLD = {
    "gpu_utilization": 0.437,
    "power_watts": 7.5,
    "temperature_celsius": 58.25,
    "temperature_headroom_celsius": 40.75,
}
NEVER_TOLD = {"gpu_foreign", "gpu_memory_free", "power_fraction", "throttled"}


def orin(root: Any) -> JetsonGpu:
    root.write(ORIN_NANO)
    entry = root.folder / "sys" / "class" / "devfreq" / "17000000.gpu" / "device"
    entry.parent.mkdir(parents=True)
    entry.symlink_to(root.folder / "sys/devices/platform/bus@0/17000000.gpu")
    found = JetsonGpu.find(root.folder)
    assert found is not None
    return found


def test_values_come_through_and_what_a_jetson_does_not_know_is_said(root: Any) -> None:
    sensor = orin(root)
    assert sensor.read() == {**TOLD, **dict.fromkeys(NEVER_TOLD)}
    assert set(sensor.lost) == NEVER_TOLD
    assert "only as a whole" in sensor.lost["gpu_foreign"]


@pytest.mark.parametrize(
    "load", ["sys/devices/gpu.0/load", "sys/devices/platform/gpu.0/load", "sys/devices/platform/17000000.gpu/load"]
)
def test_load_is_found_where_each_generation_has_it(root: Any, load: str) -> None:
    root.write({load: 1000})
    found = JetsonGpu.find(root.folder)
    assert found is not None
    assert found.read()["gpu_utilization"] == 1


def test_other_boxes_are_no_jetson(root: Any) -> None:
    root.write({"sys/devices/platform/serial8250/load": 3, "sys/class/thermal/thermal_zone0/type": "gpu-thermal"})
    assert JetsonGpu.find(root.folder) is None


def test_board_that_measures_no_whole_has_its_rails_added(root: Any) -> None:
    labels = {f"{INA}/in1_label": "VDD_GPU_SOC", f"{INA}/in3_label": "NC"}
    root.write({**labels, f"{INA}/in3_input": 5000, f"{INA}/curr3_input": 9999, "sys/devices/gpu.0/load": 0})
    root.write({name: content for name, content in ORIN_NANO.items() if INA in name and name not in labels})
    found = JetsonGpu.find(root.folder)
    assert found is not None
    assert found.read()["power_watts"] == 9.5


@pytest.mark.parametrize(
    ("file", "gone"),
    [
        ("sys/devices/platform/bus@0/17000000.gpu/load", {"gpu_utilization"}),
        (f"{INA}/curr1_input", {"power_watts"}),
        ("sys/class/thermal/thermal_zone1/temp", {"temperature_celsius", "temperature_headroom_celsius"}),
        ("sys/class/thermal/thermal_zone1/trip_point_1_temp", {"temperature_headroom_celsius"}),
    ],
)
@pytest.mark.parametrize("broken", ["missing", "unreadable", "empty"])
def test_file_that_fails_loses_its_values_only(root: Any, file: str, gone: set[str], broken: str) -> None:
    sensor = orin(root)
    assert sensor.read()["power_watts"] == 7.5
    if broken == "empty":
        root.write({file: ""})
    elif broken == "missing":
        (root.folder / file).unlink()
    else:
        root.replace_by_folder(file)
    values = sensor.read()
    assert {name for name in TOLD if values[name] is None} == gone
    assert set(sensor.lost) - NEVER_TOLD == gone
    assert all(file.rpartition("/")[2] in sensor.lost[name] for name in gone)


def test_value_comes_back(root: Any) -> None:
    sensor = orin(root)
    root.write({f"{INA}/curr1_input": ""})
    assert sensor.read()["power_watts"] is None
    root.write({f"{INA}/curr1_input": 2000})
    assert sensor.read()["power_watts"] == 10
    assert set(sensor.lost) == NEVER_TOLD


def test_board_without_power_monitor(root: Any) -> None:
    root.write({"sys/devices/gpu.0/load": 0})
    found = JetsonGpu.find(root.folder)
    assert found is not None
    assert found.read()["power_watts"] is None
    assert "INA3221" in found.lost["power_watts"]
    assert "no zone of the GPU" in found.lost["temperature_celsius"]
