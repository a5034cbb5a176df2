import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from daemons import await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.sensors import Readings, Sensors

PROC = {"proc/stat": "cpu  1 2 3 4 5 6 7 8 0 0\nprocs_running 1", "proc/pressure/cpu": "some avg10=0.00 total=5"}
JETSON = {"sys/devices/gpu.0/load": 500, "sys/class/thermal/thermal_zone0/type": "GPU-therm"}
CPU_HEAT = {"sys/class/thermal/thermal_zone1/type": "x86_pkg_temp", "sys/class/thermal/thermal_zone1/temp": 40000}
GPU = ("count 1", "0.utilization 40", "0.process 7", "0.memory_total 8", "0.memory_free 2", "0.milliwatts 9000")
OF_THE_GPU = {
    "gpu_utilization",
    "gpu_foreign",
    "gpu_memory_free",
    "power_watts",
    "power_fraction",
    "temperature_celsius",
    "temperature_headroom_celsius",
    "throttled",
}

without_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this box has an NVIDIA GPU")


@without_gpu
def test_sensors_say_once_what_is_lost_and_read_the_rest() -> None:
    lost: list[str] = []
    sensors = Sensors(list, lambda name, _: lost.append(name))
    sensors.start()
    try:
        await_true(lambda: sensors.latest.cpu_foreign is not None, 5, "a reading")
    finally:
        sensors.stop()
    assert len(lost) == len(set(lost))
    assert "gpu_utilization" in lost
    assert sensors.latest.gpu_foreign is None


@without_gpu
def test_without_a_gpu_heat_is_the_processors(root: Any) -> None:
    root.write({**PROC, **CPU_HEAT})
    lost: dict[str, str] = {}
    sensors = Sensors(list, lost.__setitem__, root=root.folder)
    assert sensors.latest.temperature_celsius == 40
    assert sensors.latest.cpu_queue is not None
    assert lost.keys() == {"gpu_utilization", "power_watts", "temperature_headroom_celsius"}


def test_reading_says_when_it_was_made(root: Any) -> None:
    root.write({**PROC, **JETSON})
    before = time.monotonic()
    sensors = Sensors(list, lambda *_: None, root=root.folder)
    first = sensors.latest
    assert before <= first.at <= time.monotonic()
    sensors.start()
    try:
        await_true(lambda: sensors.latest.at > first.at, 5, "the next reading")
    finally:
        sensors.stop()


def test_heat_of_a_jetson_is_its_gpus(root: Any) -> None:
    root.write({**PROC, **JETSON, **CPU_HEAT})
    lost: dict[str, str] = {}
    latest = Sensors(list, lost.__setitem__, root=root.folder).latest
    assert latest.gpu_utilization == 0.5
    assert latest.temperature_celsius is None
    assert "thermal_zone0/temp" in lost["temperature_celsius"]


def test_value_that_comes_and_goes_is_told_once(root: Any) -> None:
    root.write({**PROC, **JETSON})
    told: list[str] = []
    sensors = Sensors(list, lambda name, _: told.append(name), root=root.folder)
    sensors.start()
    try:
        for load in (500, "", 600, "", 700):
            root.write({"sys/devices/gpu.0/load": load})
            expected = load / 1000 if load else None
            await_true(lambda: sensors.latest.gpu_utilization == expected, 5, f"load {load}")  # noqa: B023
    finally:
        sensors.stop()
    assert told.count("gpu_utilization") == 1


def test_nothing_can_be_read_at_all(root: Any) -> None:
    root.write({"sys/devices/gpu.0/load": ""})
    lost: dict[str, str] = {}
    latest = Sensors(list, lost.__setitem__, root=root.folder).latest
    assert latest == Readings(at=latest.at)
    assert lost.keys() == OF_THE_GPU - {"temperature_headroom_celsius"} | {"cpu_pressure", "cpu_foreign", "cpu_queue"}


WEIRD = st.sampled_from(
    ["", "x", "-1", "9" * 5000, "cpu", "cpu  " + "9 " * 10, f"cpu  {'9' * 400} " * 9, "some total=", "1 (x", "\0"]
)


@pytest.mark.generated
@generous(100)
@given(file=st.sampled_from(sorted({**PROC, **JETSON, **CPU_HEAT})), text=WEIRD | st.text(max_size=30))
def test_whatever_the_kernel_writes_ends_no_reading(root: Any, file: str, text: str) -> None:
    root.write({**PROC, **JETSON, **CPU_HEAT})
    sensors = Sensors(lambda: [os.getpid()], lambda *_: None, root=root.folder)
    for content in (text.encode(errors="replace").decode(), "5"):
        (root.folder / file).write_text(content)
        sensors._read()


def test_defect_in_a_sensor_is_not_swallowed(root: Any) -> None:
    root.write({**PROC, **JETSON})
    defective = threading.Event()

    def own() -> list[int]:
        if defective.is_set():
            raise KeyError("camera")
        return []

    sensors = Sensors(own, lambda *_: None, root=root.folder)
    sensors.start()
    try:
        assert sensors.latest.gpu_utilization == 0.5
        defective.set()
        told = await_true(lambda: sensors.thread.hindrance, 5, "the defect")
        assert told == "the thread sensors has ended (KeyError: 'camera')"
        assert "in own" in str(sensors.thread.defect)
        await_true(lambda: sensors.latest.gpu_utilization is None, 5, "the value to be unknown")
    finally:
        sensors.stop()


def test_reading_that_hangs_leaves_no_old_values_standing(root: Any) -> None:
    root.write({**PROC, **JETSON})
    load = root.folder / "sys/devices/gpu.0/load"
    sensors = Sensors(list, lambda *_: None, root=root.folder)
    assert sensors.latest.gpu_utilization == 0.5
    load.unlink()
    os.mkfifo(load)  # opening it waits for a writer, as a call into a driver may wait for its GPU
    sensors.start()
    try:
        await_true(lambda: sensors.latest.gpu_utilization is None, 5, "the value to be unknown")
        assert sensors.latest.cpu_queue is None
    finally:
        load.write_text("700")
        sensors.stop()


def test_lost_gpu_is_told_value_by_value_and_the_processors_are_read_on(gpu: Any) -> None:
    for name, content in PROC.items():
        (gpu.folder / name).parent.mkdir(exist_ok=True)
        (gpu.folder / name).write_text(content)
    gpu.tell(*GPU)
    gpu.start(7)
    before = gpu.latest()
    assert (before["gpu_utilization"], before["gpu_foreign"], before["power_watts"]) == (0.4, 0, 9)
    gpu.tell(*(f"error {function} 15" for function in LOSABLE), *GPU)
    await_true(lambda: gpu.latest()["gpu_utilization"] is None, 5, "the loss")
    lost_at = gpu.latest()["at"]
    await_true(lambda: gpu.latest()["at"] > lost_at, 5, "one more reading")
    after = gpu.latest()
    names = [name for name, _ in after["told"]]
    assert set(names) >= OF_THE_GPU
    assert len(names) == len(set(names))
    assert {after[name] for name in OF_THE_GPU} == {None}
    assert after["cpu_queue"] is not None


LOSABLE = (
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetCurrentClocksEventReasons",
)
