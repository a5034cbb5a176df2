"""Networks that are remembered: what a second start needs, and what makes it load the network after all."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adainf.backbones.cifar import CifarResNet

PROGRAM = """
import sys, numpy as np
from adainf.backbones import Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.opening import NetworkSource, Opening
said = []
source = NetworkSource("resnet20", "cifar/resnet20", Options(sys.argv[1], zoom=0.5))
engine = Opening(None, {REFERENCE: source}, threads=1, warn=said.append).open()
picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
branch = Branch(16, (True,) * 9)
scores = engine.run([engine.prepare(picture, 16)], [branch])
zoom = engine.outlines[REFERENCE].preprocessing.zoom
print(engine.name, "torch" in sys.modules, float(scores.sum()), zoom, *said)
"""

Opened = Callable[[], tuple[str, ...]]


def write_weights(file: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_file(CifarResNet((16, 32, 64), 3, 10).state_dict(), file)
    return file


def opening(weights: Path, cache: Path) -> tuple[str, ...]:
    """Opens the network in a process of its own and runs a frame; tells the engine, whether torch came, the scores."""
    environment = {**os.environ, "CACHE_DIRECTORY": str(cache)}
    command = [sys.executable, "-c", PROGRAM, str(weights)]
    return tuple(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, tuple[str, ...]]:
    """A first start, which takes seconds: its weights, the cache that it left, and its answer. Not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    weights = write_weights(folder / "weights.safetensors")
    return weights, folder / "cache", opening(weights, folder / "cache")


@pytest.fixture
def cache(first: tuple[Path, Path, tuple[str, ...]], tmp_path: Path) -> Path:
    """As the first start left it."""
    return shutil.copytree(first[1], tmp_path / "cache")


@pytest.fixture
def exports(cache: Path) -> Path:
    return cache / "onnx"


@pytest.fixture
def before(first: tuple[Path, Path, tuple[str, ...]]) -> tuple[str, ...]:
    """The first start's answer."""
    return first[2]


@pytest.fixture
def opened(first: tuple[Path, Path, tuple[str, ...]], cache: Path) -> Opened:
    """A later start."""
    return lambda: opening(first[0], cache)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that a test may change."""
    return write_weights(tmp_path / "weights.safetensors")


def test_a_second_start_answers_alike_without_torch(before: tuple[str, ...], opened: Opened) -> None:
    engine, with_torch, scores, zoom = before
    assert (engine, with_torch, zoom) == ("onnx", "True", "0.5")
    assert opened() == ("onnx", "False", scores, "0.5")


def test_other_weights_in_the_same_file_are_seen(weights: Path, tmp_path: Path) -> None:
    before = opening(weights, tmp_path)
    write_weights(weights, seed=1)
    after = opening(weights, tmp_path)
    assert after[1] == "True"
    assert after[2] != before[2]


def test_an_export_that_is_gone_is_made_again(before: tuple[str, ...], opened: Opened, exports: Path) -> None:
    for file in exports.glob("*.onnx"):
        file.unlink()
    assert opened() == before
    assert opened()[1] == "False"


@pytest.mark.parametrize("content", ["", "null"])
def test_what_cannot_be_read_is_not_remembered(
    content: str, before: tuple[str, ...], opened: Opened, exports: Path
) -> None:
    (memory,) = exports.glob("*.json")
    memory.write_text(content)
    assert opened() == before
    assert opened()[1] == "False"


def test_weights_that_are_gone_are_no_longer_remembered(weights: Path, tmp_path: Path) -> None:
    opening(weights, tmp_path)
    weights.unlink()
    with pytest.raises(subprocess.CalledProcessError):
        opening(weights, tmp_path)
