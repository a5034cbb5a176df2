"""Networks that are remembered: what a second start needs, and what makes it load the network after all."""

import os
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
from adainf.branch import Branch
from adainf.engines.opening import Opening
said = []
engine = Opening(None, "cifar/resnet20", Options(sys.argv[1], zoom=0.5), threads=1, warn=said.append).open()
picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
branch = Branch(16, (True,) * 9)
scores = engine.run([engine.prepare(picture, 16)], [branch])
print(engine.name, "torch" in sys.modules, float(scores.sum()), engine.preprocessing.zoom, *said)
"""

Opened = Callable[[], tuple[str, ...]]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(CifarResNet((16, 32, 64), 3, 10).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def opened(weights: Path, tmp_path: Path) -> Opened:
    """Opens the network in a process of its own and runs a frame; tells the engine, whether torch came, the scores."""

    def run() -> tuple[str, ...]:
        environment = {**os.environ, "CACHE_DIRECTORY": str(tmp_path / "cache")}
        command = [sys.executable, "-c", PROGRAM, str(weights)]
        return tuple(
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
        )

    return run


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "onnx"


def test_a_second_start_answers_alike_without_torch(opened: Opened) -> None:
    engine, with_torch, scores, zoom = opened()
    assert (engine, with_torch, zoom) == ("onnx", "True", "0.5")
    assert opened() == ("onnx", "False", scores, "0.5")


def test_other_weights_in_the_same_file_are_seen(opened: Opened, weights: Path) -> None:
    before = opened()
    torch.manual_seed(1)
    save_file(CifarResNet((16, 32, 64), 3, 10).state_dict(), weights)
    after = opened()
    assert after[1] == "True"
    assert after[2] != before[2]


def test_an_export_that_is_gone_is_made_again(opened: Opened, exports: Path) -> None:
    before = opened()
    for file in exports.glob("*.onnx"):
        file.unlink()
    assert opened() == before
    assert opened()[1] == "False"


@pytest.mark.parametrize("content", ["", "null"])
def test_what_cannot_be_read_is_not_remembered(content: str, opened: Opened, exports: Path) -> None:
    before = opened()
    (memory,) = exports.glob("*.json")
    memory.write_text(content)
    assert opened() == before
    assert opened()[1] == "False"


def test_weights_that_are_gone_are_no_longer_remembered(opened: Opened, weights: Path) -> None:
    opened()
    weights.unlink()
    with pytest.raises(subprocess.CalledProcessError):
        opened()
