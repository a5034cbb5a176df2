import json
import time

import pytest
from safetensors import safe_open

from adainf.backbones import Options, load

NETWORK = ("--backbone", "cifar/resnet20", "--size", "16", "--batch", "8", "--threads", "1")


def _step(path) -> int:
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["progress"])["step"]


def test_killed_and_resumed_it_ends_with_the_same_weights(start, done, pictures, tmp_path):
    command = ("pretrain", *NETWORK, "--images", pictures, "--steps", 60)
    killed, whole = tmp_path / "killed.safetensors", tmp_path / "whole.safetensors"
    with start(*command, "--checkpoint-every", "0", "--out", killed) as process:
        limit = time.monotonic() + 60
        while _step(tmp_path / "killed.safetensors.partial") < 3 and time.monotonic() < limit:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -9
    assert not killed.exists()
    done(*command, "--resume", "--out", killed)
    done(*command, "--out", whole)
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.safetensors", "whole.safetensors"]


def test_the_weights_are_read_with_their_classes(done, pictures, tmp_path):
    out = tmp_path / "weights.safetensors"
    printed = done("pretrain", *NETWORK, "--images", pictures, "--steps", 2, "--out", out)
    assert "36 pictures" in printed
    assert "of 4 held out" in printed
    backbone = load("cifar/resnet20", Options(str(out), size=16))
    assert backbone.classes.names == ("14", "15", "3", "92")
    assert "top-1" in done("evaluate", "--profile", _profile(done, out, pictures, tmp_path), "--weights", out,
                           "--images", pictures, "--threads", 1)  # fmt: skip


def _profile(done, weights, pictures, folder):
    out = folder / "profile.json"
    network = ("--backbone", "cifar/resnet20", "--weights", weights, "--size", 16, "--resolutions", 16, "--threads", 1)
    done("calibrate", *network, "--images", pictures, "--branches", 4, "--out", out)
    return out


def test_it_learns_to_tell_bright_from_dark(done, tmp_path):
    import cv2
    import numpy as np

    for name, level in (("bright", 200), ("dark", 20)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            picture = np.full((16, 16, 3), level + number, np.uint8)
            cv2.imwrite(str(tmp_path / "images" / name / f"{number}.png"), picture)
    printed = done("pretrain", *NETWORK, "--images", tmp_path / "images", "--steps", 40, "--learning-rate", 0.02,
                   "--out", tmp_path / "w.safetensors")  # fmt: skip
    assert "top-1 100.0% of 4 held out" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--backbone", "timm/resnet18"), "must be one of cifar/"),
        (("--backbone", "cifar/resnet21"), "the nearest names are"),
        (("--out", "weights.pth"), "must end in .safetensors"),
        (("--images", "nowhere"), "no such folder"),
        (("--learning-rate", "1e30"), "the loss is"),
        (("--minutes", "1"), "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_refused(refused, pictures, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    given = ("--images", pictures, "--steps", 6, "--out", "weights.safetensors", *arguments)
    assert said in refused("pretrain", *NETWORK, *given).splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".safetensors", ".pth")]


def test_one_class_alone_and_finished_or_unfinished_weights_are_refused(refused, draw, pictures, tmp_path):
    out = tmp_path / "w.safetensors"
    one = draw(tmp_path / "one", ["cat"], each=10)
    assert "the one class 'cat'" in refused("pretrain", *NETWORK, "--images", one, "--out", out)
    out.touch()
    assert "exists" in refused("pretrain", *NETWORK, "--images", pictures, "--out", out)
    out.rename(f"{out}.partial")
    assert "--resume" in refused("pretrain", *NETWORK, "--images", pictures, "--out", out)
