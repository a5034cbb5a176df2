import cv2
import numpy as np
import pytest

from adainf.backbones import Classes
from adainf.base.errors import InvalidInputError
from adainf.media import images
from adainf.media.images import Part

CLASSES = Classes(
    ("tench", "great white shark", "crane", "crane"), ("n01440764", "n01484850", "n02012849", "n03126707")
)


@pytest.mark.parametrize(
    ("folder", "index"),
    [("n01484850", 1), ("n03126707", 3), ("tench", 0), ("Great_White_Shark", 1), ("0", 0), ("3", 3)],
)
def test_a_class_folder_is_named_by_wordnet_id_name_or_index(folder, index):
    assert images.class_indices([folder], CLASSES) == {folder: index}


@pytest.mark.parametrize("folder", ["goldfish", "4", "-1", "n99999999"])
def test_a_folder_that_means_no_class_is_named_with_what_is_allowed(folder):
    with pytest.raises(InvalidInputError, match=rf"{folder}.*WordNet ids, indices 0 to 3 and the names tench"):
        images.class_indices(["tench", folder], CLASSES)


def test_a_name_that_two_classes_have_is_refused_with_their_indices():
    with pytest.raises(InvalidInputError, match="classes 2 and 3 have this name"):
        images.class_indices(["crane"], CLASSES)


def test_wordnet_folders_become_texts_for_an_open_vocabulary_and_mean_them():
    texts = images.label_texts(["n01440764", "front_door", "n01484850"])
    assert texts == ("front door", "tench", "great white shark")
    assert images.class_indices(["n01440764"], Classes(texts)) == {"n01440764": 1}


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((4, 4, 3), np.uint8))


def test_unlabelled_pictures_lie_at_any_depth_and_are_sorted(tmp_path):
    write(tmp_path, "b.png", "a/deep/er/2.jpg", "a/1.jpg", ".trash/x.png")
    (tmp_path / "notes.txt").touch()
    found = images.listing(tmp_path, labelled=False)
    assert [picture.path.relative_to(tmp_path).as_posix() for picture in found] == [
        "a/1.jpg",
        "a/deep/er/2.jpg",
        "b.png",
    ]


def test_a_labelled_picture_outside_a_class_folder_is_named(tmp_path):
    write(tmp_path, "cat/1.png", "stray.png")
    with pytest.raises(InvalidInputError, match=r"stray\.png lies in no class folder"):
        images.listing(tmp_path, labelled=True)


def test_parts_are_alternate_rows_and_together_the_whole():
    rows = list(range(9))
    assert Part.parse("1/2").rows(rows) == [0, 2, 4, 6, 8]
    assert Part.parse("2/2").rows(rows) == [1, 3, 5, 7]
    assert sorted(row for number in (1, 2, 3) for row in Part(number, 3).rows(rows)) == rows


@pytest.mark.parametrize("text", ["3/2", "0/2", "1", "1/0", "a/b", "1/2/3", "-1/2"])
def test_a_part_that_is_none_is_refused(text):
    with pytest.raises(InvalidInputError, match="must be K/N"):
        Part.parse(text)


def test_a_limit_is_spread_evenly_and_the_seed_shifts_it():
    rows = list(range(100))
    chosen = images.spread(rows, 10, seed=0)
    assert chosen == images.spread(rows, 10, seed=0) != images.spread(rows, 10, seed=1)
    assert [row // 10 for row in chosen] == list(range(10))
    assert images.spread(rows, 200, seed=0) == rows


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"broken\.jpg: cannot be decoded"):
        images.decode(tmp_path / "broken.jpg")
