"""Which engine is taken, and how a refusal reads."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from adainf import backbones, engines
from adainf.backbones import RANDOM, Backbone, Options
from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.branch import REFERENCE
from adainf.engines.onnx import OnnxEngine
from adainf.engines.torch import TorchEngine


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))


@pytest.fixture
def network(backbone: Callable[[str], Backbone]) -> Backbone:
    return backbone("cifar/resnet20")


@pytest.mark.parametrize(("name", "expected"), [(None, OnnxEngine), ("onnx", OnnxEngine), ("torch", TorchEngine)])
def test_engine_on_the_cpu(name: str | None, expected: type, network: Backbone) -> None:
    said: list[str] = []
    engine = engines.load(name, {REFERENCE: network}, device="cpu", threads=1, warn=said.append)
    assert isinstance(engine, expected)
    assert (engine.name, engine.threads) == (expected.name, 1)
    assert engine.device
    assert said == []


def test_unknown_engine_is_refused_with_the_known_ones(network: Backbone) -> None:
    with pytest.raises(InvalidInputError, match="engine 'tensorrt': must be one of onnx, torch"):
        engines.load("tensorrt", {REFERENCE: network})


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [("onnx", "cuda", "device 'cuda': the onnx engine runs on 'cpu' only"), ("torch", "tpu", "device 'tpu': must be")],
)
def test_wrong_device_is_refused(name: str, device: str, message: str, network: Backbone) -> None:
    with pytest.raises(InvalidInputError, match=message):
        engines.load(name, {REFERENCE: network}, device=device)


@pytest.mark.parametrize("name", [None, "torch"])
def test_missing_gpu_is_named(name: str | None, network: Backbone) -> None:
    with pytest.raises(UnavailableError, match=r"device 'cuda:1': .*, or leave `device` out"):
        engines.load(name, {REFERENCE: network}, device="cuda:1")


def test_missing_onnx_runtime_is_said_and_torch_taken(network: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda package: None if package == "onnxruntime" else object())
    said: list[str] = []
    assert isinstance(engines.load(None, {REFERENCE: network}, device="cpu", warn=said.append), TorchEngine)
    assert said == ["engine: torch instead of the faster onnx; not installed: onnxruntime"]
    with pytest.raises(UnavailableError, match="not installed: onnxruntime"):
        engines.load("onnx", {REFERENCE: network})


class _Unknown(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.special.i0e(images)


def test_network_that_cannot_be_exported_runs_on_torch() -> None:
    network = backbones.load("cifar/resnet20", Options(weights=RANDOM))
    network.stem = nn.Sequential(network.stem, _Unknown())
    said: list[str] = []
    assert isinstance(engines.load(None, {REFERENCE: network}, device="cpu", warn=said.append), TorchEngine)
    assert len(said) == 1
    assert "special_i0e" in said[0]


def test_the_package_imports_neither_torch_nor_onnx_runtime() -> None:
    program = "import sys, adainf.engines; sys.exit(bool({'torch', 'onnxruntime', 'onnx'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)
