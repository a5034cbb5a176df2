"""The ONNX engine: what it exports, keeps on disk and holds in memory."""

import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options
from adainf.branch import REFERENCE, Branch
from adainf.engines import exports
from adainf.engines.base import UnsupportedExportError
from adainf.engines.cache import cache_folder
from adainf.engines.exports import Loaded, export
from adainf.engines.onnx import OnnxEngine

_SKIPPING = Branch(16, (True, False, True, True, True, True, True, True, True))


@pytest.fixture
def network(backbone: Callable[[str], Backbone]) -> Backbone:
    return backbone("cifar/resnet20")


def _operators(backbone: Backbone, branch: Branch) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(export(backbone, branch)).graph.node]


def _only(folder: Path) -> Path:
    (file,) = folder.glob("*.onnx")
    return file


def test_export_of_a_branch_has_no_node_of_a_skipped_block(network: Backbone) -> None:
    full, skipping = (_operators(network, Branch(16, keep)) for keep in (network.full.keep, _SKIPPING.keep))
    assert full.count("Conv") == 19
    assert skipping.count("Conv") == 17


def test_export_folds_batch_norm_and_position_embeddings(backbone: Callable[[str], Backbone]) -> None:
    convolutional = backbone("timm/tf_efficientnet_lite0")
    assert "BatchNormalization" not in _operators(convolutional, convolutional.full)
    transformer = backbone("timm/vit_tiny_patch16_224")
    assert "Resize" not in _operators(transformer, Branch(96, transformer.full.keep))


def test_export_leaves_the_network_in_evaluation(network: Backbone) -> None:
    export(network, _SKIPPING)
    assert not any(module.training for module in network.modules())


class _Unknown(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.special.i0e(images)


def test_network_that_cannot_be_exported_is_refused_by_operator(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = backbones.load("cifar/resnet20", Options(weights=RANDOM))
    network.stem = nn.Sequential(network.stem, _Unknown())
    with pytest.raises(UnsupportedExportError, match=r"cifar/resnet20: cannot be exported to ONNX;.*special_i0e"):
        OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path).warm_up([_SKIPPING])
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_second_engine_reuses_the_export(network: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path).warm_up([_SKIPPING])
    before = _only(tmp_path).stat()
    monkeypatch.setattr(exports, "export", lambda *_: pytest.fail("exported again"))
    OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path).warm_up([_SKIPPING])
    after = _only(tmp_path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_weights_have_another_export(network: Backbone, tmp_path: Path) -> None:
    OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path).warm_up([_SKIPPING])
    other = backbones.load("cifar/resnet20", Options(weights=RANDOM))
    next(other.parameters()).mul_(2)
    OnnxEngine({REFERENCE: Loaded(other)}, cache=tmp_path).warm_up([_SKIPPING])
    assert len(list(tmp_path.glob("*.onnx"))) == 2


@pytest.mark.parametrize("damage", [lambda _: b"", lambda whole: whole[:-9], lambda whole: whole[:-1] + b"\x55"])
def test_damaged_export_is_made_again(
    damage: Callable[[bytes], bytes], network: Backbone, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path)
    inputs = [engine.prepare(picture, 16)]
    scores = engine.run(inputs, [_SKIPPING])
    file = _only(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    np.testing.assert_array_equal(
        OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path).run(inputs, [_SKIPPING]), scores
    )
    assert _only(tmp_path).stat().st_size == len(whole)


def test_branches_share_their_weights_as_files(network: Backbone, picture: NDArray[np.uint8], tmp_path: Path) -> None:
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path)
    engine.warm_up([Branch(16, network.full.keep)])
    files = {file: file.stat().st_ino for file in tmp_path.glob("*.weights")}
    assert sum(file.stat().st_size for file in files) > 0.9 * sum(p.nbytes for p in network.parameters() if p.dim() > 1)
    scores = engine.run([engine.prepare(picture, 16)], [_SKIPPING])
    assert {file: file.stat().st_ino for file in tmp_path.glob("*.weights")} == files
    assert sum(file.stat().st_size for file in tmp_path.glob("*.onnx")) < 0.2 * sum(f.stat().st_size for f in files)
    for file in files:
        file.write_bytes(file.read_bytes()[:-4] + b"oops")
    again = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path)
    np.testing.assert_array_equal(again.run([again.prepare(picture, 16)], [_SKIPPING]), scores)


def test_folder_that_cannot_be_written_is_said_once(
    network: Backbone, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    # Root may write anywhere, but nobody below a file.
    blocked = tmp_path / "file"
    blocked.touch()
    said: list[str] = []
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=blocked / "onnx", warn=said.append)
    branches = [_SKIPPING, Branch(16, network.full.keep)]
    scores = engine.run([engine.prepare(picture, 16)] * 2, branches)
    assert np.isfinite(scores).all()
    assert len(said) == 1
    assert str(blocked / "onnx") in said[0]


@pytest.mark.parametrize("whose", ["another's", "everyone's", "another's file"])
def test_export_that_another_user_may_have_put_there_is_not_loaded(
    network: Backbone, picture: NDArray[np.uint8], tmp_path: Path, whose: str
) -> None:
    folder, said = tmp_path / "onnx", []
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=folder)
    scores = engine.run([engine.prepare(picture, 16)], [_SKIPPING])
    assert folder.stat().st_mode & 0o777 == 0o700
    # All is consistent, digests too, but of another network.
    file = _only(folder)
    model = onnx.load_model(file)
    model.graph.node[-1].op_type = "Neg"
    onnx.save_model(onnx.helper.make_model(onnx.helper.make_graph(
        [onnx.helper.make_node("ReduceSum", ["images"], ["scores"])], "evil",
        list(model.graph.input), list(model.graph.output),
    )), file)  # fmt: skip
    digests = file.with_suffix(".sha256")
    digests.write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
    match whose:
        case "everyone's":
            folder.chmod(0o777)
        case _ if os.geteuid() != 0:
            pytest.skip("needs root, to give a file away")
        case "another's":
            os.chown(folder, 12345, 12345)
        case _:
            os.chown(digests, 12345, 12345)
    again = OnnxEngine({REFERENCE: Loaded(network)}, cache=folder, warn=said.append)
    np.testing.assert_array_equal(again.run([again.prepare(picture, 16)], [_SKIPPING]), scores)
    again.run([again.prepare(picture, 16)], [Branch(16, network.full.keep)])
    assert len(said) == (whose != "another's file")
    assert all(str(folder) in line and "its exports are not used" in line for line in said)


def test_least_recently_used_session_goes(network: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path, sessions=2)
    loaded: list[Path | bytes] = []
    load = engine._load
    monkeypatch.setattr(engine, "_load", lambda model: loaded.append(model) or load(model))
    first, second, third = (Branch(side, network.full.keep) for side in (8, 12, 16))
    engine.warm_up([first, second, first, third])
    assert list(engine._sessions) == [first, third]
    engine.warm_up([first, third])
    assert len(loaded) == 3
    engine.warm_up([second])
    assert len(loaded) == 4


@pytest.mark.parametrize("room", [0, 10_000, 300_000])
def test_on_a_full_disk_it_runs_from_memory(network: Backbone, tmp_path: Path, room: int) -> None:
    """Wherever writing stops: at once, in the model as the runtime writes it, or in what is set apart of it."""
    warned: list[str] = []
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path, warn=warned.append)
    picture = np.zeros((40, 40, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        scores = engine.run([engine.prepare(picture, 16)], [_SKIPPING])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert np.isfinite(scores).all()
    assert len(warned) == 1
    assert warned[0].startswith(f"{tmp_path}: exports cannot be kept here")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_cache_folder_is_the_services_else_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/adainf:/var/cache/other")
    assert cache_folder() == Path("/var/cache/adainf/onnx")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/adainf/onnx")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/adainf/onnx")


def test_onnx_runtime_does_not_report_home(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY",)}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import adainf.engines.onnx"], env=environment, check=True)
    assert not list(tmp_path.rglob("*onnxruntime*"))
