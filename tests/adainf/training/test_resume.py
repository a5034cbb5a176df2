import json
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from safetensors import safe_open
from safetensors.torch import load_file


def step_of(checkpoint):
    with safe_open(checkpoint, framework="pt") as file:
        return json.loads(file.metadata()["progress"])["step"]


@pytest.fixture(scope="module")
def killed_once(start, network, pictures, tmp_path_factory):
    """The folder of a training that was killed after a few steps of forty."""
    out = tmp_path_factory.mktemp("killed") / "run"
    checkpoint = out / "checkpoint.safetensors"
    settings = (*network, "--images", pictures, "--steps", 40, "--checkpoint-every", 0)
    with start("train", *settings, "--out", out) as process:
        while process.poll() is None and not (checkpoint.exists() and step_of(checkpoint) >= 3):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        said = process.stderr.read()
    assert process.returncode == -signal.SIGKILL, said
    return out


@pytest.fixture
def killed(killed_once, tmp_path):
    return shutil.copytree(killed_once, tmp_path / "run")


def test_killed_and_resumed_it_ends_as_if_never_killed(done, network, pictures, killed, tmp_path):
    assert 3 <= step_of(killed / "checkpoint.safetensors") < 40
    settings = (*network, "--images", pictures, "--steps", 40)
    done("train", *settings, "--resume", "--out", killed)
    done("train", *settings, "--out", tmp_path / "whole")
    assert (killed / "adapter.safetensors").read_bytes() == (tmp_path / "whole" / "adapter.safetensors").read_bytes()
    assert sorted(path.name for path in killed.iterdir()) == ["adapter.safetensors", "manifest.json"]


@pytest.mark.parametrize("recipe", ["distil", "paper"])
def test_statistics_that_move_go_on_moving(done, start, network, pictures, tmp_path, recipe):
    named = network if recipe == "distil" else (*network[:6], "--recipe", "paper", "--batch", "4")
    settings = (*named, "--images", pictures, "--batch-norm", "train", "--checkpoint-every", 0, "--steps", 8)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with start("train", *settings, "--out", killed) as process:
        checkpoint = killed / "checkpoint.safetensors"
        while process.poll() is None and not (checkpoint.exists() and step_of(checkpoint) >= 2):
            time.sleep(0.001)
        process.kill()
    done("train", *settings, "--resume", "--out", killed)
    done("train", *settings, "--out", whole)
    assert (killed / "adapter.safetensors").read_bytes() == (whole / "adapter.safetensors").read_bytes()
    moved = [name for name in load_file(whole / "adapter.safetensors") if name.endswith(".running_mean")]
    assert len(moved) == 19
    assert json.loads((whole / "manifest.json").read_text())["training"]["batch_norm"] == "train"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ([], "holds an unfinished training; give --resume"),
        (["--resume", "--seed", "7"], "a training with seed 0, not 7"),
        (["--resume", "--steps", "9"], "a training with steps 40, not 9"),
    ],
)
def test_an_unfinished_training_is_neither_overwritten_nor_mixed(refused, network, pictures, killed, changed, says):
    before = (killed / "checkpoint.safetensors").read_bytes()
    assert says in refused("train", *network, "--images", pictures, "--steps", 40, "--out", killed, *changed)
    assert (killed / "checkpoint.safetensors").read_bytes() == before


def test_a_file_that_is_no_checkpoint_is_left_alone(refused, network, pictures, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_text("mine")
    said = refused("train", *network, "--images", pictures, "--resume", "--steps", 3, "--out", tmp_path)
    assert "is no checkpoint" in said
    assert (tmp_path / "checkpoint.safetensors").read_text() == "mine"


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Lets no file grow past so many bytes, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_checkpoint(refused, network, pictures, killed, small_disk):
    before = (killed / "checkpoint.safetensors").read_bytes()
    settings = (*network, "--images", pictures, "--steps", 40, "--checkpoint-every", 0, "--resume")
    small_disk(len(before) - 1)
    said = refused("train", *settings, "--out", killed)
    assert f"that of step {step_of(killed / 'checkpoint.safetensors')} is kept" in said
    assert (killed / "checkpoint.safetensors").read_bytes() == before
    assert [path.name for path in killed.iterdir()] == ["checkpoint.safetensors"]


def test_a_finished_run_is_not_overwritten(done, refused, network, pictures, tmp_path):
    settings = (*network, "--images", pictures, "--steps", 1, "--out", tmp_path / "run")
    done("train", *settings)
    assert "holds a finished run" in refused("train", *settings, "--resume")
