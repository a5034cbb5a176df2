import os

import cv2
import numpy as np
import pytest

from adainf.base.errors import InvalidInputError
from adainf.teaching.examples import of_folder, of_video, open_examples
from adainf.teaching.views import views_of


def test_pictures_of_one_visit_are_one_episode(tmp_path):
    visits = {"a": (0, 5, 1000, 1010, 5000), "b": (100, 300, 310)}
    for label, times in visits.items():
        (tmp_path / label).mkdir()
        for number, time in enumerate(times):
            file = tmp_path / label / f"{len(times) - number}.png"  # the names do not follow the times
            cv2.imwrite(str(file), np.full((8, 8, 3), number, np.uint8))
            os.utime(file, (1_000_000 + time,) * 2)
    examples = of_folder(tmp_path, 60)
    assert examples.timed
    assert [example.time - 1_000_000 for example in examples.every] == [*visits["a"], *visits["b"]]
    assert [example.episode for example in examples.every] == [0, 0, 1, 1, 2, 0, 1, 1]
    assert [int(example.read()[0, 0, 0]) for example in examples.every] == [0, 1, 2, 3, 4, 0, 1, 2]


def test_a_region_is_all_that_is_looked_at(tmp_path):
    for label, value in (("a", 50), ("b", 90)):
        (tmp_path / label).mkdir()
        picture = np.full((10, 20, 3), 255, np.uint8)
        picture[5:, 10:15] = value
        for number in range(3):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), picture)
    examples = open_examples(tmp_path, None, None, 60, (0.5, 0.5, 0.75, 1.0))
    assert [example.read().shape for example in examples.every] == [(5, 5, 3)] * 6
    assert [set(example.read().ravel().tolist()) for example in examples.every] == [{50}] * 3 + [{90}] * 3
    for wrong in ((0.5, 0, 0.5, 1), (0, 0, 1.5, 1), (-0.1, 0, 1, 1), (0, 1, 1, 0)):
        with pytest.raises(InvalidInputError, match="region"):
            open_examples(tmp_path, None, None, 60, wrong)


def test_pictures_that_were_copied_together_follow_the_listing(paintings):
    examples = of_folder(paintings, 5)
    assert not examples.timed
    assert [example.name for example in examples.every if example.label == "sky"] == sorted(
        example.name for example in examples.every if example.label == "sky"
    )
    assert [len(of) for of in examples.of_label.values()] == [5, 5, 5]


def test_a_picture_that_cannot_be_decoded_is_passed_over(paintings, tmp_path, capsys):
    for number in range(4):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{number}.png").write_bytes((paintings / "sky" / f"{number}.png").read_bytes())
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    examples = of_folder(tmp_path, 60)
    assert [example.name for example in examples.every] == ["a/0.png", "a/1.png", "a/3.png"]
    assert examples.passed_over.count == 1
    assert "2.png" in capsys.readouterr().err


def test_frames_are_spread_over_the_spans_of_their_label(film, tmp_path):
    spans = tmp_path / "spans.csv"
    spans.write_text("0,1,empty\n1,2,sky\n4,5,empty\n", encoding="utf-8")
    examples = of_video(film, spans, 10)
    times = {label: [example.time for example in of] for label, of in examples.of_label.items()}
    np.testing.assert_allclose(times["empty"], [0.1, 0.3, 0.5, 0.7, 0.9, 4.1, 4.3, 4.5, 4.7, 4.9])
    np.testing.assert_allclose(times["sky"], np.arange(10) / 10 + 1.05)
    assert [example.episode for example in examples.of_label["empty"]] == [0] * 5 + [2] * 5
    # The frames are those of their time: the pattern of `empty` runs down, and so does not change from row to row.
    for example in examples.every:
        rows = example.read().astype(int).mean(axis=2)
        changes = np.abs(np.diff(rows, axis=0)).mean(), np.abs(np.diff(rows, axis=1)).mean()
        assert (changes[0] < changes[1] / 2) == (example.label == "empty")


def test_a_span_shorter_than_its_frames_gives_each_frame_once(film, tmp_path):
    spans = tmp_path / "spans.csv"
    spans.write_text("0,0.3,empty\n1,2,sky\n", encoding="utf-8")
    assert len(of_video(film, spans, 60).of_label["empty"]) == 3


def test_no_video_is_refused(paintings, tmp_path):
    (tmp_path / "spans.csv").write_text("0,1,a\n", encoding="utf-8")
    for file in (tmp_path / "none.mp4", tmp_path / "spans.csv"):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            of_video(file, tmp_path / "spans.csv", 5)


def test_views_keep_the_picture_and_one_of_them_is_grey(paintings):
    picture = cv2.imread(str(paintings / "sky" / "0.png"))
    as_it_is, in_light, grey = views_of(picture, np.random.default_rng(0))
    np.testing.assert_array_equal(as_it_is, picture)
    assert (in_light != picture).any()
    assert (np.ptp(grey, axis=2) == 0).all()
    mirrored = [views_of(picture, np.random.default_rng(seed), mirrored=True)[1] for seed in range(8)]
    assert len({view[:, :20].mean() > view[:, 20:].mean() for view in mirrored}) == 2
