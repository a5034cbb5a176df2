import os

import cv2
import numpy as np
import playlists
import pytest


@pytest.fixture
def here(tmp_path, monkeypatch, draw, clip):
    """A working folder with things that cannot be learnt from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "one", ["3"], each=2)
    draw(tmp_path / "strange", ["unicorn", "3"], each=1)
    (tmp_path / "unreadable/4").mkdir(parents=True)
    (tmp_path / "unreadable/4/0.png").write_bytes(b"")
    (tmp_path / "unreadable/4/1.png").write_bytes(b"no picture")
    cv2.imwrite("picture.png", np.zeros((8, 8, 3), np.uint8))
    clip(tmp_path / "short.mp4", 5)
    clip(tmp_path / "long.mp4", 20)
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "broken.pth").write_bytes(b"broken")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--images", "nowhere"], "nowhere: no such folder or video"),
        (["--images", "empty"], "empty: holds no picture"),
        (["--images", "one"], "holds the one class '3'"),
        (["--images", "strange"], "class folder 'unicorn'"),
        (["--images", "unreadable", "--unlabelled"], "unreadable: none of 2 pictures can be decoded"),
        (["--images", "picture.png"], "is one picture; give the folder"),
        (["--images", "long.mp4"], "a video has no labels; give --unlabelled"),
        (["--images", "short.mp4", "--unlabelled"], "is a video of 5 frames; at least 16"),
        (["--images", "text.mp4", "--unlabelled"], "is not a video that OpenCV can read"),
        (["--mix", "1,2"], "must be 1 shares"),
        (["--weights", "broken.pth"], "must be a safetensors file or a PyTorch state dict"),
        (["--backbone", "cifar/resnet21"], "unknown"),
        (["--resolutions", "30"], "takes multiples of 4"),
        (["--resolutions", "64"], "must be at most 32"),
        (["--ceiling", "0.01"], "ceiling 0.01: at 16 px the cheapest branch takes"),
        (["--adapt", "none"], "leaves nothing to train"),
        (["--minutes", "1"], "exclude each other"),
        (["--out", "picture.png"], "is no folder"),
        (["--out", "picture.png/run"], "cannot be written"),
        (["--device", "gpu"], "must be 'cpu', 'cuda' or 'cuda:NUMBER'"),
        (["--learning-rate", "nan"], "learning rate nan: must be above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused(refused, network, pictures, here, changed, says):
    before = sorted(here.rglob("*"))
    images = [] if "--images" in changed else ["--images", pictures]
    assert says in refused("train", *network, *images, "--steps", 2, "--out", "run", *changed)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_a_gpu_that_is_not_there_may_come_later(adainf, network, pictures, tmp_path, command):
    given = ("--images", pictures, "--steps", 2, "--device", "cuda:99", "--out", tmp_path / "out.safetensors")
    named = network if command == "train" else ("--backbone", "cifar/resnet20")
    status, _, said = adainf(command, *named, *given)
    assert (status, said.count("\n")) == (69, 1)
    assert "device 'cuda:99': " in said


def test_statistics_that_are_not_there_cannot_move(refused, pictures, tmp_path):
    vit = ("--backbone", "timm/vit_tiny_patch16_224", "--weights", "random", "--size", 32, "--batch-norm", "train")
    said = refused("train", *vit, "--unlabelled", "--images", pictures, "--steps", 1, "--out", tmp_path / "run")
    assert "vit_tiny_patch16_224 has no batch norm; it must be 'frozen'" in said


@pytest.mark.parametrize("kind", ["HLS", "concat", "SDP", "DASH"])
def test_a_video_that_names_others_is_none_and_nobody_is_asked(refused, network, tmp_path, clip, kind):
    clip(tmp_path / "other.mp4", 20)
    with playlists.Elsewhere() as elsewhere:
        for number, address in enumerate(("other.mp4", f"http://127.0.0.1:{elsewhere.port}/x.ts")):
            film = tmp_path / f"film{number}.mp4"
            film.write_text(playlists.of(kind, address, elsewhere.port))
            said = refused("train", *network, "--images", film, "--unlabelled", "--steps", 2, "--out", tmp_path / "run")
            assert "is not a video that OpenCV can read" in said
        assert not elsewhere.asked


def test_a_video_of_giant_frames_is_refused(refused, network, tmp_path):
    film = tmp_path / "film.y4m"
    film.write_bytes(b"YUV4MPEG2 W15000 H12000 F25:1 Ip A1:1 Cmono\nFRAME\n")
    os.truncate(film, film.stat().st_size + 15000 * 12000)
    said = refused("train", *network, "--images", film, "--unlabelled", "--steps", 2, "--out", tmp_path / "run")
    assert "its frames have 15000 × 12000 pixels; at most 179 megapixels are read" in said


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_checkpoint(refused, network, pictures, tmp_path):
    out = tmp_path / "run"
    settings = ("--adapt", "full", "--learning-rate", 1e30, "--steps", 50)
    said = refused("train", *network, "--images", pictures, *settings, "--out", out)
    assert "at step" in said
    assert "lower learning rate" in said
    assert [path.name for path in out.iterdir()] == ["checkpoint.safetensors"]
