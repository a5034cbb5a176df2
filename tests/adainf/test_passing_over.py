"""Commands pass over what cannot be decoded, name it once, count it, and do with the rest as if it were not there."""

import json
import os
import shutil

import pytest
from footage import MPEG4, footage, giant_png, still, with_noise

NETWORK = ("--backbone", "cifar/resnet20", "--weights", "random", "--threads", "1", "--batch", "4")
BAD = {
    b"0-giant.png": giant_png(),
    b"0-empty.jpg": b"",
    b"0-caf\xe9\n.png": b"no picture",
    b"0-cut.avif": still("avif")[:300],
    b"0" * 250 + b".png": still("png")[:60],
}
NAMES = ["0-giant.png", "0-empty.jpg", "0-caf\\xe9\\n.png", "0-cut.avif", "000.png"]


@pytest.fixture
def spoilt(pictures, tmp_path):
    """The pictures, and among them what is none."""
    folder = tmp_path / "spoilt"
    shutil.copytree(pictures, folder)
    for name, content in BAD.items():
        (folder / "14" / os.fsdecode(name)).write_bytes(content)
    return folder


def assert_named_once(said):
    for name in NAMES:
        (line,) = [line for line in said.splitlines() if name in line and "passed over" in line]
        assert line.startswith("adainf: image ")
    assert "Traceback" not in said


def test_a_calibration_is_of_the_rest(adainf, spoilt, tmp_path):
    few = ("--resolutions", "16", "--branches", "3", "--out", tmp_path / "p.json")
    status, printed, said = adainf("calibrate", *NETWORK[:6], *few, "--images", spoilt)
    assert status == 0, said
    assert "40 images (5 that cannot be decoded passed over)" in printed
    assert_named_once(said)
    assert json.loads((tmp_path / "p.json").read_text())["calibration"]["images"] == 40


def test_an_evaluation_is_as_without_them(adainf, profile, pictures, spoilt):
    options = ("--profile", profile, "--weights", "random", "--threads", 1, "--json")
    found = [adainf("evaluate", *options, "--images", folder) for folder in (pictures, spoilt)]
    assert [status for status, *_ in found] == [0, 0]
    assert json.loads(found[0][1]) == json.loads(found[1][1])
    assert_named_once(found[1][2])
    assert "40 images (5 that cannot be decoded passed over)" in found[1][2]


def test_training_goes_on_with_the_rest(adainf, spoilt, tmp_path):
    film = with_noise(footage(tmp_path / "v.mp4", *MPEG4, frames=60), 0.5)
    steps = ("--steps", 8, "--resolutions", "16", "--unlabelled", "--ceiling", "0.5", "--out", tmp_path / "run")
    status, _, said = adainf("train", *NETWORK, *steps, "--images", spoilt, "--images", film)
    assert status == 0, said
    for name in NAMES[:3]:
        assert said.count(name) == 1
    assert ", frame" in said  # the path before it may be shortened
    assert "that cannot be decoded passed over" in said
    assert "Traceback" not in said


def test_pretraining_goes_on_with_the_rest(adainf, spoilt, tmp_path):
    steps = ("--steps", 2, "--size", 16, "--threads", 1, "--batch", 8, "--out", tmp_path / "w.safetensors")
    status, printed, said = adainf("pretrain", "--backbone", "cifar/resnet20", "--images", spoilt, *steps)
    assert status == 0, said
    assert_named_once(said)
    assert "5 pictures or frames that cannot be decoded passed over" in said
    assert "36" in printed, printed


@pytest.mark.parametrize("command", ["calibrate", "evaluate", "train", "pretrain"])
def test_where_nothing_is_left_there_is_one_line(refused, profile, tmp_path, command):
    folder = tmp_path / "bad"
    for name, content in BAD.items():
        file = folder / ("3", "14")[len(name) % 2] / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    out = ("--out", tmp_path / ("out.safetensors" if command == "pretrain" else "out"))
    network = {
        "calibrate": (*NETWORK[:6], "--resolutions", "16", *out),
        "evaluate": ("--profile", profile, *NETWORK[2:6]),
        "train": (*NETWORK, "--steps", "1", "--unlabelled", *out),
        "pretrain": (*NETWORK[:2], "--steps", "1", "--size", "16", *out),
    }[command]
    said = refused(command, *network, "--images", folder)
    assert "can be decoded" in said or "holds 5 pictures; 10 or more are needed" in said
    assert not (tmp_path / "out").exists()
