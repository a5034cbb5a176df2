"""What the doctor says of a GPU: each thing that the sensors want missing once, and a convolution that fails."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adainfd.doctor import gpu

_STATE = (
    "count 1",
    "0.utilization 40",
    "0.memory_total 8000",
    "0.memory_free 2000",
    "0.milliwatts 45500",
    "0.limit_milliwatts 70000",
    "0.celsius 66",
    "0.slowdown_celsius 92",
    "0.process 4711",
)


@pytest.fixture
def doctor(build_driver: Callable[..., Path], run: Any, tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that the doctor says of a box with a GPU whose driver tells these things.

    PyTorch takes seconds to import and tells nothing of the driver: it is broken unless a test wants it.
    """
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "torch.py").write_text("raise ImportError('broken')\n", encoding="utf-8")
    found = os.environ.get("PYTHONPATH", "")

    def lines(*told: str, visible: str = "0", with_torch: bool = False) -> list[str]:
        state = tmp_path / "gpu"
        state.write_text("".join(f"{line}\n" for line in told))
        driver = {
            "LD_LIBRARY_PATH": str(build_driver().parent),
            "FAKE_NVML": str(state),
            "CUDA_VISIBLE_DEVICES": visible,
            "PYTHONPATH": found if with_torch else f"{tmp_path / 'without'}{os.pathsep}{found}",
        }
        result = run("doctor", **driver)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.splitlines()

    return lines


def test_driver_that_tells_all(doctor: Callable[..., list[str]]) -> None:
    lines = [line for line in doctor(*_STATE) if "GPU sensor" in line]
    assert len(lines) == 1
    # In a container, whose processes are numbered apart, the load of others cannot be told.
    assert lines[0].startswith("ok") or "unlike this container" in lines[0]


@pytest.mark.parametrize(
    ("function", "value", "cost"),
    [
        ("nvmlDeviceGetUtilizationRates", "gpu_utilization", "[contention]"),
        ("nvmlDeviceGetPowerUsage", "power_watts", "[power]"),
        ("nvmlDeviceGetMemoryInfo", "gpu_memory_free", "free memory"),
        ("nvmlDeviceGetEnforcedPowerLimit", "power_fraction", "[power]"),
        ("nvmlDeviceGetTemperature", "temperature_celsius", "[heat]"),
        ("nvmlDeviceGetProcessUtilization", "gpu_foreign", "[contention]"),
    ],
)
def test_driver_that_does_not_tell_something(
    doctor: Callable[..., list[str]], function: str, value: str, cost: str
) -> None:
    newer = ("error nvmlDeviceGetTemperatureV 3",) if function == "nvmlDeviceGetTemperature" else ()
    lines = doctor(*_STATE, f"error {function} 3", *newer)
    (line,) = (line for line in lines if line.startswith("warn  GPU sensor") and f"{value}:" in line)
    assert cost in line


def test_gpu_that_is_hidden_is_not_looked_at(doctor: Callable[..., list[str]]) -> None:
    lines = doctor(*_STATE, visible="-1")
    assert not any("GPU sensor" in line for line in lines)
    (line,) = (line for line in lines if line[6:].startswith("CUDA"))
    assert line.startswith("ok")


def test_convolution_on_a_gpu_that_pytorch_cannot_use(doctor: Callable[..., list[str]]) -> None:
    lines = doctor(*_STATE, with_torch=True)
    (index,) = (index for index, line in enumerate(lines) if line.startswith("warn  CUDA"))
    assert "no convolution on cuda: device 'cuda': " in lines[index]
    assert "recognises with the processors" in lines[index + 1]


def test_convolution_is_computed() -> None:
    assert gpu.convolves("cpu").verdict == "ok"


def test_convolution_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_CONVOLUTION_SECONDS", 0.01)
    finding = gpu.convolves("cpu")
    assert finding.verdict == "warn"
    assert "takes more than" in finding.found
