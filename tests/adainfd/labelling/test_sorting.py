"""`adainfd label` in the terminal: lists, moves and removes unsorted pictures, and nothing else."""

import contextlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.collecting.kept import KeptPicture
from adainfd.labelling.sorting import Labels
from daemons import assert_refused
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError
from adainf.teaching.examples import check_teachable, of_folder

JPEG = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
SURE = KeptPicture.at(1.7e9, "sample", "open", 0.98).name
UNSURE = KeptPicture.at(1.7e9 + 1, "unsure", "shut", 0.51).name
STRANGE = KeptPicture.at(1.7e9 + 2, "unknown", "unknown", 0.99).name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "gate"
    (made / "unsorted").mkdir(parents=True)
    for name in (SURE, UNSURE, STRANGE, "mine.png"):
        (made / "unsorted" / name).write_bytes(JPEG)
    (made / "unsorted" / "notes.txt").write_text("no picture")
    (made / "unsorted" / ".new").write_bytes(JPEG)
    (made / "unsorted" / "link.jpg").symlink_to("/etc/passwd")
    return made


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pictures_are_listed_by_doubt_and_sorted_into_classes(run: Any, folder: Path) -> None:
    listed = run("label", folder)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.split()[-1] for line in listed.stdout.splitlines()[:4]] == [STRANGE, "mine.png", UNSURE, SURE]
    assert "unsorted: 4 (1 other, 1 sample open, 1 unknown unknown, 1 unsure shut)" in listed.stdout
    assert "link.jpg" not in listed.stdout

    before = (folder / "unsorted" / SURE).stat().st_mtime_ns
    moved = run("label", folder, "--into", "open", SURE, folder / "unsorted" / UNSURE)
    assert (moved.returncode, moved.stderr) == (0, "")
    assert {f"open/{SURE}", f"open/{UNSURE}"} <= names(folder)
    assert (folder / "open" / SURE).stat().st_mtime_ns == before, "its time tells teaching what lies close together"
    dropped = run("label", folder, "--drop", "mine.png")
    assert dropped.returncode == 0
    assert run("label", folder, "--into", "unknown", STRANGE).returncode == 0
    listed = run("label", folder)
    assert listed.stdout.splitlines() == ["unsorted: 0", "open: 2", "unknown: 1"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--into", "open", "none.jpg"), "none.jpg"),
        (("--into", "open", "link.jpg"), "link.jpg"),
        (("--into", "open", "notes.txt"), "notes.txt"),
        (("--into", "open", "/etc/passwd"), "/etc/passwd"),
        (("--into", "open", "../unsorted/mine.png"), "../unsorted/mine.png"),
        (("--into", "../../x", "mine.png"), "'../../x'"),
        (("--into", "..", "mine.png"), "'..'"),
        (("--into", "unsorted", "mine.png"), "'unsorted'"),
        (("--into", "", "mine.png"), "label ''"),
        (("--into", "taken", "mine.png", SURE), "already has a picture mine.png"),
        (("--into", "elsewhere", "mine.png"), "is a link"),
        (("--drop", "mine.png", "/etc/passwd"), "/etc/passwd"),
        (("--into", "open"), "FILEs go with"),
        (("mine.png",), "FILEs go with"),
        (("--into", "open", "--drop", "mine.png"), "give one of"),
        (("--serve", "0.0.0.0:0"), "an address of this box alone"),
        (("--serve", "here"), "must be ADDRESS:PORT"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_moved(
    run_forked: Any, folder: Path, arguments: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    (folder / "taken").mkdir()
    (folder / "taken" / "mine.png").write_text("mine")
    (folder / "elsewhere").symlink_to(tmp_path)
    before = names(tmp_path)
    assert_refused(run_forked("label", folder, *arguments), 78, named)
    assert names(tmp_path) == before
    assert (folder / "taken" / "mine.png").read_text() == "mine"


def test_a_folder_without_pictures_to_label_is_refused(run_forked: Any, tmp_path: Path) -> None:
    assert_refused(run_forked("label", tmp_path), 78, "has no folder 'unsorted'")
    assert_refused(run_forked("label", tmp_path / "none"), 78, "has no folder 'unsorted'")
    (tmp_path / "unsorted").symlink_to("/etc")
    assert_refused(run_forked("label", tmp_path), 78, "is a link")


@given(label=st.text(max_size=300), name=st.text(max_size=300))
def test_whatever_is_asked_for_nothing_leaves_the_folder(
    tmp_path_factory: pytest.TempPathFactory, label: str, name: str
) -> None:
    outer = tmp_path_factory.mktemp("outer")
    (outer / "gate" / "unsorted").mkdir(parents=True)
    (outer / "gate" / "unsorted" / "a.jpg").write_bytes(JPEG)
    labels = Labels(outer / "gate")
    for asked in (["a.jpg"], [name]):
        with contextlib.suppress(InvalidInputError):
            labels.put(asked, label)
    assert [path.name for path in outer.iterdir()] == ["gate"]
    assert len(names(outer)) == 1
    assert all(len(Path(found).parts) == 3 for found in names(outer))


def test_teaching_passes_over_what_is_unsorted_or_unknown(folder: Path) -> None:
    for label in ("open", "shut", "unknown"):
        (folder / label).mkdir()
        for number in range(3):
            (folder / label / f"{number}.jpg").write_bytes(JPEG)
    check_teachable(taught := of_folder(folder, 60, to_teach=True))
    assert taught.labels == ("open", "shut")
    assert of_folder(folder, 60).labels == ("open", "shut", "unknown")
