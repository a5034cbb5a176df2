"""Weights from files: what is read, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import pictures, stir
from safetensors.torch import save_file
from torch import Tensor

from adainf.backbones import RANDOM, Backbone, Options, load
from adainf.backbones.cifar import CifarResNet
from adainf.backbones.weights import fingerprint, read
from adainf.base.errors import InvalidInputError

CLASSES = 7


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return dict(stir(CifarResNet((16, 32, 64), 3, CLASSES)).state_dict())


def from_file(path: Path) -> Backbone:
    return load("cifar/resnet20", Options(weights=str(path)))


def refusal(path: Path) -> str:
    with pytest.raises(InvalidInputError) as raised:
        from_file(path)
    message = str(raised.value)
    assert message.startswith(f"weights {path}: ")
    assert "\n" not in message
    return message.removeprefix(f"weights {path}: ")


def test_every_kind_of_file_gives_the_same_network(state: dict[str, Tensor], tmp_path: Path) -> None:
    prefixed = {f"module.{key}": value for key, value in state.items()}
    save_file(state, tmp_path / "plain.safetensors")
    save_file(prefixed, tmp_path / "parallel.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    torch.save({"epoch": 3, "state_dict": prefixed}, tmp_path / "checkpoint.tar")
    torch.save({"model": state}, tmp_path / "named_like_nothing_known")
    networks = [from_file(path) for path in tmp_path.iterdir()]
    assert len({fingerprint(found) for found in networks}) == 1
    assert networks[0](pictures(1, 32)).shape == (1, CLASSES)
    assert len(networks[0].classes.names) == CLASSES


def test_fine_tuned_head_of_timm_is_read_from_the_weights(tmp_path: Path) -> None:
    import timm

    save_file(timm.create_model("resnet18", num_classes=2).state_dict(), tmp_path / "tuned.safetensors")
    tuned = load("timm/resnet18", Options(str(tmp_path / "tuned.safetensors")))
    assert tuned.classes.names == ("class 0", "class 1")


def test_fingerprint_follows_each_value(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "one.pth")
    torch.save({**state, "linear.bias": state["linear.bias"] + 1e-6}, tmp_path / "other.pth")
    assert fingerprint(from_file(tmp_path / "one.pth")) != fingerprint(from_file(tmp_path / "other.pth"))


def test_random_weights_are_the_same_each_time_and_leave_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    first = fingerprint(load("cifar/resnet20", Options(RANDOM)))
    drawn = torch.rand(3)
    assert fingerprint(load("cifar/resnet20", Options(RANDOM))) == first
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.pth") == "no such file"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 64, bytes(range(256)), json.dumps({"a": 1}).encode(), b"PK\x03\x04"]
)
def test_file_of_something_else(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    assert refusal(path).startswith("must be a safetensors file or a PyTorch state dict (")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=80), protocol=st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_no_bytes_end_in_a_traceback(content: bytes, protocol: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.pth"
    path.write_bytes(protocol + content)
    with pytest.raises(InvalidInputError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file(suffix: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(path).startswith("must be a safetensors file or a PyTorch state dict (")


class Intruder:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_does_not_run(zipped: bool, state: dict[str, Tensor], tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({**state, "extra": Intruder(trace)}, path, _use_new_zipfile_serialization=zipped)
    refusal(path)
    assert not trace.exists()


def test_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "notes.pth")
    assert refusal(tmp_path / "notes.pth") == "holds no state dict (names with tensors)"


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(CifarResNet((16, 32, 64), 5, CLASSES).state_dict(), tmp_path / "resnet32.pth")
    assert refusal(tmp_path / "resnet32.pth").startswith("do not fit cifar/resnet20; not of this network: layer1.3.")


def test_missing_tensor_and_wrong_shape(state: dict[str, Tensor], tmp_path: Path) -> None:
    changed = {**state, "bn1.weight": torch.ones(3), "linear.weight": torch.tensor(1.0)}
    del changed["conv1.weight"]
    torch.save(changed, tmp_path / "weights.pth")
    assert refusal(tmp_path / "weights.pth") == (
        "do not fit cifar/resnet20; missing: conv1.weight; of another shape: bn1.weight (3,) instead of (16,), "
        f"linear.weight () instead of (100, 64), linear.bias ({CLASSES},) instead of (100,)"
    )


def test_directory_named_like_a_tag_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a1_in1k").mkdir()
    (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    assert Options("a1_in1k").weights_file is None
    assert Options("mine").weights_file == Path("mine")
