"""Devices that cannot be used: what is said of them, and which engine is taken instead."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adainf import engines
from adainf.backbones import Backbone
from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.branch import REFERENCE
from adainf.engines import devices

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """As where a GPU driver is loaded, but PyTorch finds it too old."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_NODES", (str(tmp_path),))
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))

    def fail() -> None:
        raise RuntimeError(TOO_OLD)

    monkeypatch.setattr(torch.cuda, "init", fail)
    return fail


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:one", "cpu:1", ""])
def test_what_is_no_devices_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"must be 'cpu', 'cuda' or 'cuda:NUMBER'"):
        devices.check(name)


def test_a_box_without_a_driver_is_told_so_before_torch_is_imported() -> None:
    program = """
import os, sys
from adainf.engines import devices
os.environ.pop("CUDA_VISIBLE_DEVICES", None)
devices._NODES = ("/nowhere",)
try: devices.check("cuda:1")
except Exception as error: print(error)
sys.exit("torch" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert told.startswith("device 'cuda:1': no GPU driver is loaded; install it")


@pytest.mark.parametrize("hides", ["", "-1"])
@pytest.mark.usefixtures("driver")
def test_a_gpu_that_is_hidden(hides: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.may_be_there()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hides)
    assert not devices.may_be_there()
    with pytest.raises(
        UnavailableError, match=f"device 'cuda': CUDA_VISIBLE_DEVICES={hides} hides every GPU; unset it"
    ):
        devices.check("cuda")


@pytest.mark.usefixtures("driver")
def test_a_driver_older_than_pytorchs_cuda(backbone: Callable[[str], Backbone]) -> None:
    network, told = backbone("cifar/resnet20"), "the driver is too old for PyTorch's CUDA .*; update it"
    with pytest.raises(UnavailableError, match=f"device 'cuda': {told}"):
        engines.load(None, {REFERENCE: network}, device="cuda")
    said: list[str] = []
    assert engines.load(None, {REFERENCE: network}, threads=1, warn=said.append).name == "onnx"
    assert len(said) == 1
    assert said[0].startswith(
        "engine: the processors recognise instead of the GPU; device 'cuda': the driver is too old"
    )


@pytest.mark.usefixtures("driver")
def test_pytorch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(UnavailableError, match="is built without CUDA; install its CUDA build"):
        devices.place("cuda")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where PyTorch can use two GPUs with 100 MB of free memory."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_NODES", (str(tmp_path),))
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100 << 20, 8000 << 20))


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_is_not_there() -> None:
    assert devices.place("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UnavailableError, match="device 'cuda:2': PyTorch sees cuda:0 to cuda:1; name one of these"):
        devices.place("cuda:2")


@pytest.mark.usefixtures("gpus")
def test_too_little_memory_is_seen_before_the_weights_are_touched(
    backbone: Callable[[str], Backbone], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    network = backbone("cifar/resnet20")
    with pytest.raises(UnavailableError, match="device 'cuda:1': 100 MB of its memory are free, the model needs 5"):
        engines.load(None, {REFERENCE: network}, device="cuda:1")
    said: list[str] = []
    assert engines.load(None, {REFERENCE: network}, threads=1, warn=said.append).name == "onnx"
    assert len(said) == 1
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.usefixtures("gpus")
def test_what_cuda_raises_while_a_device_is_taken_into_use_is_told_on_one_line() -> None:
    told = r"device 'cuda': cannot be used \(CUDA error: out of memory"
    with pytest.raises(UnavailableError, match=told), devices.used("cuda"):
        raise RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA")
    with pytest.raises(RuntimeError, match="a defect"), devices.used("cuda"):
        raise RuntimeError("a defect")
