from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemons import await_true

from adainf.sensors.nvml import GpuSensor

OURS, OTHER = 4711, 4712
STATE = (
    "count 1",
    "0.uuid GPU-aaaa-1",
    "0.utilization 40",
    f"0.sample {OURS} 300 30",
    f"0.sample {OTHER} 400 10",
    "0.memory_total 8000",
    "0.memory_free 2000",
    "0.milliwatts 45500",
    "0.limit_milliwatts 70000",
    "0.celsius 66",
    "0.slowdown_celsius 92",
    "0.reasons 0x24",
)
VALUES = {
    "gpu_utilization": 0.4,
    "gpu_foreign": 0.1,
    "gpu_memory_free": 0.25,
    "power_watts": 45.5,
    "power_fraction": 0.65,
    "temperature_celsius": 66,
    "temperature_headroom_celsius": 26,
    "throttled": ["power", "thermal"],
}
NOTHING = dict.fromkeys(VALUES)

# Functions that stand in for each other, and what is lost when all of them fail.
LOST_WITH = {
    ("nvmlDeviceGetUtilizationRates",): {"gpu_utilization", "gpu_foreign"},
    (
        "nvmlDeviceGetProcessUtilization",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetComputeRunningProcesses_v2",
    ): {"gpu_foreign"},
    ("nvmlDeviceGetMemoryInfo",): {"gpu_memory_free"},
    ("nvmlDeviceGetPowerUsage",): {"power_watts", "power_fraction"},
    ("nvmlDeviceGetEnforcedPowerLimit",): {"power_fraction"},
    ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"): {"temperature_celsius", "temperature_headroom_celsius"},
    ("nvmlDeviceGetMarginTemperature", "nvmlDeviceGetTemperatureThreshold"): {"temperature_headroom_celsius"},
    ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"): {"throttled"},
}
TO_OPEN = ("nvmlInitWithFlags", "nvmlDeviceGetHandleByIndex_v2")
# Uninitialized, invalid argument, not supported, no permission, insufficient size, driver not loaded, timeout,
# lost, reset required, operating system, version mismatch, no data, not ready, unknown, one of a later version.
CODES = (1, 2, 3, 4, 7, 9, 10, 15, 16, 17, 18, 21, 27, 999, 7777)

without_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this box has an NVIDIA GPU")


def failing(functions: tuple[str, ...], code: int) -> list[str]:
    return [f"error {function} {code}" for function in functions]


def everything_failing(code: int) -> list[str]:
    return [line for functions in LOST_WITH for line in failing(functions, code)]


def without(*keys: str) -> list[str]:
    return [line for line in STATE if line.split()[0] not in keys]


@without_gpu
def test_without_a_gpu_values_are_unknown_and_the_reason_is_told() -> None:
    sensor = GpuSensor(list)
    assert sensor.read() == NOTHING
    assert "no NVIDIA GPU" in sensor.lost["gpu_utilization"]
    assert not sensor.found
    sensor.close()


def test_values_come_through(gpu: Any) -> None:
    gpu.tell(*STATE)
    gpu.open(OURS)
    assert gpu.read() == {"values": VALUES, "lost": {}, "found": True}


def test_driver_of_years_ago_tells_the_same(gpu_of: Callable[..., Any], build_driver: Callable[..., Path]) -> None:
    gpu = gpu_of(build_driver("OLD_DRIVER"))
    gpu.tell(*STATE)
    gpu.open(OURS)
    assert gpu.read() == {"values": VALUES, "lost": {}, "found": True}
    gpu.tell(*without("0.sample"), f"0.process {OURS}")
    assert gpu.read()["values"]["gpu_foreign"] == 0


def test_margin_is_believed_before_the_threshold(gpu: Any) -> None:
    gpu.tell(*STATE, "0.margin_celsius 7")
    gpu.open(OURS)
    assert gpu.read()["values"]["temperature_headroom_celsius"] == 7


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0x0, []),
        (0x1 | 0x2 | 0x10 | 0x100, []),  # idle, set clocks, several GPUs in step, display
        (0x4, ["power"]),
        (0x8 | 0x40, ["hardware", "hardware_thermal"]),
        (0x20 | 0x80, ["thermal", "hardware_power_brake"]),
        (0x200 | 0x400 | 0x8000, ["board_limit", "reliability"]),
    ],
)
def test_throttling_is_told_by_name(gpu: Any, bits: int, names: list[str]) -> None:
    gpu.tell(*without("0.reasons"), f"0.reasons {bits}")
    gpu.open(OURS)
    assert gpu.read()["values"]["throttled"] == names


@pytest.mark.parametrize(
    ("utilization", "samples", "foreign"),
    [
        (60, [(OURS, 100, 60)], 0),
        (60, [(OTHER, 100, 60)], 0.6),
        (60, [(OURS, 100, 20), (OURS, 600, 40), (OTHER, 200, 90)], 0.45),  # means of 30 and 90
        (90, [(OURS, 100, 90), (OTHER, 100, 90)], 0.45),  # each saw the GPU busy: it was shared
        (60, [(OURS, 100, 30), (OTHER, 5000, 90)], 0),  # what is long ago does not count
        (60, [(OURS, 100, 30), (0, 100, 70), (OTHER, 100, 4_000_000_000)], 0),  # padding of some drivers
        (250, [(OTHER, 100, 50)], 1),
    ],
)
def test_load_of_others(gpu: Any, utilization: int, samples: list[tuple[int, int, int]], foreign: float) -> None:
    lines = [f"0.sample {pid} {age} {percent}" for pid, age, percent in samples]
    gpu.open(OURS)
    for pads in (0, 1):
        more = (f"0.utilization {utilization}", f"0.pads {pads}")
        gpu.tell(*without("0.sample", "0.utilization"), *more, *lines)
        assert gpu.read()["values"]["gpu_foreign"] == pytest.approx(foreign, abs=1e-4)


@pytest.mark.parametrize("errors", [[], failing(("nvmlDeviceGetProcessUtilization",), 3)])
@pytest.mark.parametrize(("running", "foreign"), [([OURS], 0), ([OTHER], 0.4), ([], 0.4), ([OURS, OTHER], None)])
def test_load_of_others_without_samples(gpu: Any, errors: list[str], running: list[int], foreign: float | None) -> None:
    gpu.tell(*without("0.sample"), *(f"0.process {pid}" for pid in running), *errors)
    gpu.open(OURS)
    reading = gpu.read()
    assert reading["values"] == {**VALUES, "gpu_foreign": foreign}
    assert set(reading["lost"]) == ({"gpu_foreign"} if foreign is None else set())
    if foreign is None and errors:
        assert "Not Supported" in reading["lost"]["gpu_foreign"]


def test_nobody_is_asked_who_uses_an_idle_gpu(gpu: Any) -> None:
    gpu.tell(*without("0.sample", "0.utilization"), f"0.process {OURS}", f"0.process {OTHER}")
    gpu.open(OURS)
    assert gpu.read() == {"values": {**VALUES, "gpu_utilization": 0, "gpu_foreign": 0}, "lost": {}, "found": True}


def test_container_with_numbers_of_its_own_takes_nobodys_load_for_that_of_others(gpu: Any, tmp_path: Path) -> None:
    (tmp_path / "self" / "ns").mkdir(parents=True)
    (tmp_path / "self" / "ns" / "pid").symlink_to("pid:[4026532281]")
    gpu.tell(*STATE)
    gpu.open(7, proc=tmp_path)
    reading = gpu.read()
    assert reading["values"] == {**VALUES, "gpu_foreign": None}
    assert "--pid=host" in reading["lost"]["gpu_foreign"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("functions", LOST_WITH, ids=lambda functions: functions[0])
def test_function_that_fails_loses_its_values_only(gpu: Any, functions: tuple[str, ...], code: int) -> None:
    gpu.tell(*STATE)
    gpu.open(OURS)
    gpu.read()
    gpu.tell(*STATE, *failing(functions, code))
    gone = LOST_WITH[functions]
    for _ in range(2):
        reading = gpu.read()
        assert reading["values"] == {**VALUES, **dict.fromkeys(gone)}
        assert set(reading["lost"]) == gone
        assert all("NVML: " in reason for reason in reading["lost"].values())
    gpu.tell(*STATE)
    assert gpu.read() == {"values": VALUES, "lost": {}, "found": True}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("function", TO_OPEN)
def test_gpu_that_cannot_be_opened_is_looked_for_again(gpu: Any, function: str, code: int) -> None:
    gpu.tell(*STATE, *failing((function,), code))
    gpu.open(OURS, look_again_seconds=0.05)
    for _ in range(2):
        reading = gpu.read()
        assert reading["values"] == NOTHING
        assert not reading["found"]
        assert list(reading["lost"]) == ["gpu_utilization"]
        assert "no NVIDIA GPU (NVML: " in reading["lost"]["gpu_utilization"]
    gpu.tell(*STATE)
    await_true(lambda: gpu.read() == {"values": VALUES, "lost": {}, "found": True}, 5, "the GPU")


@pytest.mark.parametrize("code", CODES)
def test_lost_gpu_comes_back(gpu: Any, code: int) -> None:
    gpu.tell(*STATE)
    gpu.open(OURS, look_again_seconds=0.05)
    assert gpu.read()["values"] == VALUES
    gpu.tell(*STATE, *everything_failing(code), "error nvmlShutdown 1")
    for _ in range(3):
        reading = gpu.read()
        assert reading["values"] == NOTHING
        assert set(reading["lost"]) == set(VALUES)
    gpu.tell(*STATE)
    await_true(lambda: gpu.read() == {"values": VALUES, "lost": {}, "found": True}, 5, "the GPU")


def test_driver_that_is_unloaded_and_loaded_again(gpu: Any) -> None:
    gpu.tell(*STATE)
    gpu.open(OURS, look_again_seconds=0.05)
    gpu.read()
    gone = [*everything_failing(1), *failing(TO_OPEN, 9)]
    gpu.tell(*gone)
    reason = "no NVIDIA GPU (NVML: Driver Not Loaded)"
    await_true(lambda: gpu.read()["lost"] == dict.fromkeys(VALUES, reason), 5, "the driver's absence")
    gpu.tell(*STATE)
    await_true(lambda: gpu.read()["values"] == VALUES, 5, "the GPU")


def test_absent_gpu_is_not_asked_for_at_every_reading(gpu: Any) -> None:
    gpu.tell(*failing(("nvmlInitWithFlags",), 9))
    gpu.open(OURS)
    gpu.read()
    gpu.tell(*STATE)
    for _ in range(5):
        assert gpu.read()["values"] == NOTHING


def test_closed_sensor_lets_go_of_the_driver(gpu: Any) -> None:
    gpu.tell(*STATE)
    gpu.open(OURS)
    gpu.read()
    assert gpu.in_use()
    gpu.close()
    assert not gpu.in_use()


TWO_MORE = (
    "0.uuid GPU-aaaa-1",
    "1.uuid GPU-bbbb-1",
    "2.uuid GPU-bbbb-2",
    "1.utilization 11",
    "2.utilization 22",
    "0.utilization 33",
    "count 3",
)


@pytest.mark.parametrize(
    ("device", "visible", "utilization"),
    [
        (None, None, 0.33),
        ("2", None, 0.22),
        ("GPU-bbbb-1", None, 0.11),
        ("GPU-bbbb-2", None, 0.22),
        ("GPU-bb", None, 0.11),
        (None, "2,1", 0.22),
        ("1", "2,1", 0.11),
        (None, "GPU-bbbb-2", 0.22),
        ("1", "GPU-aaaa,GPU-bbbb-2", 0.22),
        ("GPU-bbbb-1", "0", 0.11),
    ],
)
def test_gpu_is_chosen_as_cuda_does(gpu: Any, device: str | None, visible: str | None, utilization: float) -> None:
    gpu.tell(*TWO_MORE)
    gpu.open(OURS, device=device, environment={} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert gpu.read()["values"]["gpu_utilization"] == utilization


def test_the_gpu_that_is_watched_may_change(gpu: Any) -> None:
    gpu.tell(*TWO_MORE)
    gpu.open(OURS)
    assert gpu.read()["values"]["gpu_utilization"] == 0.33
    gpu.watch("GPU-bbbb-2")
    assert gpu.read()["values"]["gpu_utilization"] == 0.22
    gpu.watch("GPU-cccc")
    assert gpu.read()["lost"]["gpu_utilization"] == "no NVIDIA GPU (none is GPU-cccc)"
    gpu.watch("1")
    assert gpu.read()["values"]["gpu_utilization"] == 0.11


def test_gpu_that_tells_no_uuid_does_not_hide_the_next(gpu: Any) -> None:
    gpu.tell(*TWO_MORE[1:])
    gpu.open(OURS, device="GPU-bb")
    assert gpu.read()["values"]["gpu_utilization"] == 0.11


@pytest.mark.parametrize(
    ("device", "visible", "reason"),
    [
        (None, "", "CUDA_VISIBLE_DEVICES= shows no device 0"),
        (None, "-1", "CUDA_VISIBLE_DEVICES=-1 shows no device 0"),
        ("2", "0,1", "CUDA_VISIBLE_DEVICES=0,1 shows no device 2"),
        ("7", None, "NVML: Invalid Argument"),
        ("GPU-cccc", None, "none is GPU-cccc"),
    ],
)
def test_gpu_that_is_not_there_is_named(gpu: Any, device: str | None, visible: str | None, reason: str) -> None:
    gpu.tell(*TWO_MORE)
    gpu.open(OURS, device=device, environment={} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    reading = gpu.read()
    assert reading["values"] == NOTHING
    assert reading["lost"] == {"gpu_utilization": f"no NVIDIA GPU ({reason})"}


def test_driver_whose_totals_are_zero(gpu: Any) -> None:
    gpu.tell(*without("0.memory_total", "0.limit_milliwatts"))
    gpu.open(OURS)
    reading = gpu.read()
    assert set(reading["lost"]) == {"gpu_memory_free", "power_fraction"}


def test_library_of_another_age(gpu_of: Callable[..., Any], build_driver: Callable[..., Path]) -> None:
    gpu = gpu_of(build_driver("nvmlInitWithFlags=nvmlInit_v1"))
    gpu.tell(*STATE)
    gpu.open(OURS)
    assert gpu.read()["lost"] == {"gpu_utilization": "no NVIDIA GPU (NVML: Function Not Found)"}


def test_library_that_is_none(gpu_of: Callable[..., Any], tmp_path: Path) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    library.write_text("not a library")
    gpu = gpu_of(library)
    gpu.open(OURS)
    assert gpu.read()["lost"] == {"gpu_utilization": "no NVIDIA GPU (NVML: NVML Shared Library Not Found)"}
