from pathlib import Path

import pytest
from adainfd.sensors import Sensors
from adainfd.sensors.nvml import GpuSensor
from daemons import await_true

without_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this box has an NVIDIA GPU")


@without_gpu
def test_without_a_gpu_values_are_unknown_and_the_reason_is_told() -> None:
    sensor = GpuSensor(list)
    assert sensor.read() == {"gpu_utilization": None, "gpu_foreign": None}
    assert "no NVIDIA GPU" in sensor.lost["gpu_utilization"]
    sensor.close()


@without_gpu
def test_sensors_say_once_what_is_lost_and_read_the_rest() -> None:
    lost: list[str] = []
    sensors = Sensors(list, lambda name, _: lost.append(name))
    sensors.start()
    try:
        await_true(lambda: sensors.latest.cpu_foreign is not None, 5, "a reading")
    finally:
        sensors.stop()
    assert lost.count("gpu_utilization") == 1
    assert sensors.latest.gpu_foreign is None
