"""A video in place of a folder of pictures: the frames that training takes of it."""

import tempfile
from pathlib import Path

import pytest
from daemons import write_video

from adainf.profile import Profile


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "a clip.mp4", 40, moves=lambda number: number >= 10)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_its_frames_are_the_pictures(done, settings, clip, temporary, tmp_path):
    out = tmp_path / "profile.json"
    few = ("--zoom", "0", "--branches", "4", "--part", "1/2")
    done("calibrate", *settings, "--images", clip, "--unlabelled", "--out", out, *few)
    first = Profile.read(out)
    assert (first.calibration.images, first.calibration.labelled) == (20, False)
    # A second look at the same frames: they have the same names, wherever they lie.
    done("calibrate", *settings, "--images", clip, "--unlabelled", "--out", out, *few)
    assert Profile.read(out) == first
    printed = done(
        "evaluate", "--profile", out, "--weights", "random", "--images", clip, "--unlabelled", "--part", "2/2"
    )
    assert "100.0%" in printed
    assert not list(temporary.glob("adainf-*"))


def test_what_is_no_video_is_refused(refused, settings, clip, temporary, tmp_path):
    out = tmp_path / "profile.json"
    assert "give --unlabelled" in refused("calibrate", *settings, "--images", clip, "--out", out)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    said = refused("calibrate", *settings, "--images", text, "--unlabelled", "--out", out)
    assert f"images {text}: is not a video that OpenCV can read" in said
    assert not out.exists()
    assert not list(temporary.glob("adainf-*"))
