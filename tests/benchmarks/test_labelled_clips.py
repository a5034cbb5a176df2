"""Clips made from photographs: what their JSON says is what the video shows."""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_SMALL = ("--size", "160x90", "--fps", "10", "--seconds-each", "2")

Make = Callable[..., int]


@pytest.fixture(scope="module")
def module() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_BENCHMARKS)
        import labelled_clips

        yield labelled_clips


@pytest.fixture(scope="module")
def filming(module: ModuleType) -> ModuleType:
    return sys.modules["filming"]


@pytest.fixture
def make(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Run the command on arguments; its exit status."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["labelled_clips", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            module.run(module.labelled_clips, "labelled_clips")
        return int(ended.value.code or 0)

    return run


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four blurred coloured noises, two classes."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for number, label in enumerate(("cat", "dog", "cat", "dog")):
        (folder / label).mkdir(exist_ok=True)
        coarse = random.integers(0, 256, (9, 12 - 4 * (number % 2), 3), np.uint8)
        picture = cv2.resize(coarse, None, fx=20, fy=20, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / label / f"{number}.png"), picture)
    return folder


def read(folder: Path, number: int = 1) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A clip's JSON and the frames of its video."""
    video = cv2.VideoCapture(str(folder / f"clip-{number}.mp4"))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    video.release()
    return json.loads((folder / f"clip-{number}.json").read_text(encoding="utf-8")), frames


def test_clip_has_a_row_for_each_frame(make: Make, photographs: Path, tmp_path: Path) -> None:
    assert make("--images", photographs, "--out", tmp_path, *_SMALL) == 0
    document, frames = read(tmp_path)
    assert len(document["frames"]) == len(frames) == 4 * 20
    assert frames[0].shape == (90, 160, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"clip-1.json", "clip-1.mp4"}
    assert document["video"] == "clip-1.mp4"
    assert document["codec"] == "mp4v"


def test_each_row_says_what_the_frame_shows(make: Make, photographs: Path, tmp_path: Path) -> None:
    make("--images", photographs, "--out", tmp_path, *_SMALL)
    document, frames = read(tmp_path)
    for row, frame in zip(document["frames"], frames, strict=True):
        assert row["label"] == row["photograph"].partition("/")[0]
        centre = frame[25:65, 60:100].reshape(-1, 3).mean(0) / row["exposure"]
        photograph = cv2.imread(str(photographs / row["photograph"]))
        assert photograph is not None
        height, width = photograph.shape[:2]
        side = min(height, width) * 40 / 90 / row["zoom"]
        shift = np.array((row["y"], row["x"])) * min(height, width) / row["zoom"]
        top, left = np.round(np.array((height, width)) / 2 - shift - side / 2).astype(int)
        expected = photograph[top : top + round(side), left : left + round(side)].reshape(-1, 3).mean(0)
        assert np.abs(centre - expected).max() < 15


def test_every_photograph_is_cut_to_rested_on_panned_and_zoomed(make: Make, photographs: Path, tmp_path: Path) -> None:
    make("--images", photographs, "--out", tmp_path, *_SMALL)
    rows = read(tmp_path)[0]["frames"]
    for start in range(0, len(rows), 20):
        phases = [row["phase"] for row in rows[start : start + 20]]
        assert phases.index("cut") == 0
        assert phases.count("cut") == 1
        assert set(phases) == {"cut", "rest", "pan", "zoom"}
        assert len({row["photograph"] for row in rows[start : start + 20]}) == 1
    assert len({row["photograph"] for row in rows}) == 4
    assert {row["exposure"] for row in rows} > {1.0}
    assert all(0.75 <= row["exposure"] <= 1.25 for row in rows)


def test_the_view_moves_in_pans_and_zooms_only(filming: ModuleType) -> None:
    frames = filming.script([filming.Shot("a", "a")], 100, 25, np.random.default_rng(0))
    for before, frame in pairwise(frames):
        moved = (before.x, before.y) != (frame.x, frame.y)
        assert (moved, before.zoom != frame.zoom) == (frame.phase == "pan", frame.phase == "zoom")


@pytest.mark.parametrize("seed", range(20))
def test_the_central_square_stays_in_view(filming: ModuleType, seed: int) -> None:
    shots = [filming.Shot(name, name) for name in "abcdef"]
    for frame in filming.script(shots, 25, 25, np.random.default_rng(seed)):
        assert max(abs(frame.x), abs(frame.y)) + frame.zoom / 2 - 0.5 <= 0.0501


@pytest.mark.parametrize("count", [5, 6, 7, 8, 30])
def test_a_short_photograph_has_all_phases(filming: ModuleType, count: int) -> None:
    frames = filming.script([filming.Shot("a", "a")] * 4, count, 25, np.random.default_rng(count))
    assert len(frames) == 4 * count
    assert {frame.phase for frame in frames[:count]} == {"cut", "rest", "pan", "zoom"}


def test_the_same_seed_makes_the_same_clip(make: Make, photographs: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        make("--images", photographs, "--out", tmp_path / name, "--seed", seed, *_SMALL)
    texts = [(tmp_path / name / "clip-1.json").read_bytes() for name in "abc"]
    assert texts[0] == texts[1] != texts[2]
    assert all(np.array_equal(a, b) for a, b in zip(read(tmp_path / "a")[1], read(tmp_path / "b")[1], strict=True))


def test_noise_and_flicker_stay_within_their_bounds(filming: ModuleType) -> None:
    grey = np.full((90, 160, 3), 128, np.uint8)
    camera = filming.Camera((160, 90), 25, np.random.default_rng(0))
    frame = filming.Frame("a", "a", "rest", 1.0, 0.0, 0.0, 1.0)
    taken = np.array([camera.take(grey, frame) for _ in range(50)], np.float32)
    means = taken.mean((1, 2, 3))
    assert 2 <= taken.std((1, 2, 3)).mean() <= 3.2
    assert 0.01 <= np.ptp(means) / 2 / 128 <= 0.021
    noise = (taken - means[:, None, None, None])[:2].reshape(2, -1)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.03


def test_clips_share_no_photograph_and_keep_to_their_part(make: Make, photographs: Path, tmp_path: Path) -> None:
    assert make("--images", photographs, "--out", tmp_path, "--part", "1/2", "--clips", "2", *_SMALL) == 0
    shown = [{row["photograph"] for row in read(tmp_path, number)[0]["frames"]} for number in (1, 2)]
    assert sorted(map(sorted, shown)) == [["cat/0.png"], ["dog/1.png"]]


def test_in_a_flat_folder_the_stem_is_the_label(make: Make, photographs: Path, tmp_path: Path) -> None:
    assert make("--images", photographs / "dog", "--out", tmp_path, *_SMALL) == 0
    rows = read(tmp_path)[0]["frames"]
    assert {(row["label"], row["photograph"]) for row in rows} == {("1", "1.png"), ("3", "3.png")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--size", "161x90"), "'161x90' is not WIDTHxHEIGHT"),
        (("--size", "wide"), "'wide' is not WIDTHxHEIGHT"),
        (("--size", "0x0"), "'0x0' is not WIDTHxHEIGHT"),
        (("--part", "3/2"), "part '3/2': must be K/N"),
        (("--clips", "5"), "part 1/1 holds 4 photographs"),
        (("--fps", "0"), "--fps"),
        (("--fps", "5", "--seconds-each", "0.4"), "must give each 5 to"),
        (("--seconds-each", "nan"), "seconds-each nan"),
    ],
)
def test_wrong_arguments_are_refused(
    make: Make, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert make("--images", photographs, "--out", tmp_path / "out", *arguments) == 78
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make("--images", tmp_path, "--out", tmp_path / "out") == 78
    assert "holds no picture" in capsys.readouterr().err


def test_an_unreadable_photograph_is_named(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert make("--images", tmp_path, "--out", tmp_path / "out") == 78
    assert "broken.jpg: cannot be decoded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_refused(
    make: Make, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    assert make("--images", photographs, "--out", out) == 78
    assert f"out {out}: cannot be written" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_place_that_is_taken_by_a_folder_is_refused(
    make: Make, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip-1.mp4").mkdir()
    assert make("--images", photographs, "--out", tmp_path, *_SMALL) == 78
    assert "cannot be written (Is a directory)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clip-1.mp4"]


def test_a_clip_replaces_the_one_of_its_name(make: Make, photographs: Path, tmp_path: Path) -> None:
    make("--images", photographs, "--out", tmp_path, *_SMALL)
    assert make("--images", photographs, "--out", tmp_path, "--photographs", "1", *_SMALL) == 0
    document, frames = read(tmp_path)
    assert len(document["frames"]) == len(frames) == 20


def test_frames_that_were_not_written_leave_no_clip(
    make: Make,
    filming: ModuleType,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A picture of another size than the file's is dropped without a word, as a full disk's are.
    monkeypatch.setattr(filming.Camera, "take", lambda *_: np.zeros((8, 8, 3), np.uint8))
    assert make("--images", photographs, "--out", tmp_path, *_SMALL) == 78
    assert "of 80 frames written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_real_photographs_make_a_readable_clip(make: Make, shared_data: Path, tmp_path: Path) -> None:
    images = shared_data / "imagenet_500"
    arguments = ("--part", "2/2", "--photographs", "3", "--seconds-each", "1")
    assert make("--images", images, "--out", tmp_path, *arguments) == 0
    document, frames = read(tmp_path)
    assert len(frames) == len(document["frames"]) == 75
    assert frames[0].shape == (360, 640, 3)
