"""Pictures worth labelling: which are kept, how many, and what a full disk stops."""

import resource
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.collecting.kept import KeptPicture, Shelf, folder_of
from colours import film, picture, teach
from daemons import START_SECONDS, Network, assert_refused, await_true, listening
from forking import Zygote
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adainf.classes.taught import LONGEST_LABEL

REASONS = st.sampled_from(["change", "unknown", "unsure", "sample"])


@pytest.fixture(scope="module")
def colours(zygote: Zygote, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(zygote, network, ("red", "blue"), tmp_path_factory.mktemp("colours"))


def configured(file: Path, network: Network, ipc: str, camera: dict[str, Any], collect: str) -> Path:
    network.configuration(file, bind=ipc, cameras=[{"loop": True, **camera}])
    with file.open("a", encoding="utf-8") as more:
        more.write(f"[collect]\n{collect}\n")
    return file


def kept(folder: Path) -> list[KeptPicture]:
    """The pictures in a folder; every file of it is one."""
    names = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
    found = [KeptPicture.named(name) for name in names if not name.startswith(".")]
    assert None not in found, names
    return [one for one in found if one is not None]


def test_of_what_a_camera_shows_the_changes_and_the_unknown_are_kept_once_each(
    launch: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    def frame(number: int) -> NDArray[np.uint8]:
        if number < 26:
            return picture("red" if number < 13 else "blue", number, 160)
        return np.random.default_rng(7).integers(0, 256, (48, 160, 3), np.uint8)  # nothing that was taught

    clip = film(tmp_path / "c.avi", frame)
    camera = {
        "name": "door",
        "source": str(clip),
        "regions": {"left": [0, 0, 0.5, 1], "right": [0.5, 0, 1, 1]},
        "classes": {"left": str(colours)},
    }
    events = {"events": {"minimum_score": 0.5, "appear_seconds": 0.2, "gone_seconds": 0.5}}
    file = configured(tmp_path / "c.toml", network, ipc, {**camera, **events}, "a_minute = 60\nsample_seconds = 1")
    state = tmp_path / "state"
    daemon = launch("run", "--config", file, XDG_STATE_HOME=str(state))
    folder = state / "adainf" / "collect" / "door" / "left" / "unsorted"

    def both() -> bool:
        there = kept(folder)
        return any(one.reason == "change" for one in there) and any(one.label == "unknown" for one in there)

    await_true(both, START_SECONDS, "a change and an unknown picture")
    daemon.process.terminate()
    assert daemon.ended(10) == 0
    assert [path.name for path in (state / "adainf" / "collect" / "door").iterdir()] == ["left"]
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        seen = cv2.imread(str(path))
        assert seen.shape == (48, 80, 3)
        assert seen[20:].std() > 10
    # The clip shows the same again and again, and so does the folder not.
    assert len(kept(folder)) <= 12


def test_a_view_keeps_no_more_than_it_may(
    launch: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    clip = film(
        tmp_path / "c.avi", lambda number: np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
    )
    file = configured(
        tmp_path / "c.toml",
        network,
        ipc,
        {"name": "door", "source": str(clip), "classes": str(colours)},
        "a_minute = 60\nsample_seconds = 1\nmargin = 1\npictures = 1",
    )
    folder = tmp_path / "state" / "adainf" / "collect" / "door" / "unsorted"
    daemon = launch("run", "--config", file, XDG_STATE_HOME=str(tmp_path / "state"))
    seen: set[str] = set()

    def another() -> bool:
        there = [path.name for path in folder.glob("2*")]
        assert len(there) <= 1
        seen.update(there)
        return len(seen) > 1

    await_true(another, START_SECONDS, "a second picture in place of the first")
    daemon.process.terminate()
    assert daemon.ended(10) == 0


def test_a_full_disk_stops_collecting_and_never_recognising(
    launch: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    noise = [np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8) for number in range(40)]
    clip = film(tmp_path / "c.avi", lambda number: noise[number])
    file = configured(
        tmp_path / "c.toml",
        network,
        ipc,
        {"name": "door", "source": str(clip), "classes": str(colours)},
        "a_minute = 60\nsample_seconds = 1\nmargin = 1",
    )
    folder = tmp_path / "state" / "adainf" / "collect" / "door" / "unsorted"
    with listening(ipc) as receive:
        folder.parent.mkdir(parents=True)
        folder.write_text("in the way")  # as a disk that cannot be written: nothing can be kept in a file
        daemon = launch("run", "--config", file, XDG_STATE_HOME=str(tmp_path / "state"))
        until = 3

        def heard(wanted: Any) -> dict[str, Any]:
            return next(m for _, m in iter(lambda: receive(START_SECONDS), None) if wanted(m))

        beat = heard(lambda m: (m.get("lost") or {}).get("pictures", 0) >= until)
        assert "pictures cannot be collected (File exists)" in beat["detail"]
        assert len(daemon.named("collecting_stopped")) == 1
        first = heard(lambda m: "frame" in m)["frame"]
        heard(lambda m: m.get("frame", 0) > first + 10)

        folder.unlink()
        heard(lambda m: m.get("state") == "ready")
        await_true(lambda: kept(folder), 10, "a picture, now that there is room")
        daemon.await_event("collecting_again", 5)

        # A disk that is full for good: no file may grow.
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        heard(lambda m: m.get("state") == "degraded" and "File too large" in (m["detail"] or ""))
        first = heard(lambda m: "frame" in m)["frame"]
        heard(lambda m: m.get("frame", 0) > first + 10)
        assert all(path.stat().st_size > 100 for path in folder.iterdir()), "nothing half-written stays"
    daemon.process.terminate()
    assert daemon.ended(10) == 0


def test_without_the_section_nothing_is_kept(
    launch: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    clip = film(tmp_path / "c.avi", lambda number: picture("green", number))
    camera = {"name": "door", "source": str(clip), "classes": str(colours)}
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    daemon = launch("run", "--config", file, XDG_STATE_HOME=str(tmp_path / "state"))
    assert daemon.ended(START_SECONDS) == 0
    assert not (tmp_path / "state" / "adainf" / "collect").exists()


@given(
    puts=st.lists(st.tuples(REASONS, st.integers(1, 400)), max_size=30),
    most=st.integers(1, 6),
    most_bytes=st.integers(200, 1500),
)
def test_a_shelf_never_holds_more_than_its_bounds_and_always_the_newest(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[Any, int]], most: int, most_bytes: int
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "unsorted", most, most_bytes)
    for number, (reason, size) in enumerate(puts):
        put = KeptPicture.at(1000 + number, reason, "open", 0.5)
        taken = shelf.put(put, b"x" * size)
        assert taken == (size <= most_bytes)
        names = sorted(path.name for path in shelf.folder.glob("*"))
        assert len(names) <= most
        assert sum((shelf.folder / name).stat().st_size for name in names) <= most_bytes
        assert not taken or names[-1] == put.name


def test_the_oldest_of_the_most_frequent_reason_makes_room(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 4, 1000)
    for second, reason in enumerate(["change", "unknown", "unknown", "sample", "unsure"]):
        shelf.put(KeptPicture.at(second, reason, "open", 0.5), b"x")  # type: ignore[arg-type]
    assert [one.reason for one in kept(tmp_path)] == ["change", "unknown", "sample", "unsure"]
    assert kept(tmp_path)[1].time.endswith("000002.000Z")


@given(
    wall=st.floats(0, 4e9),
    reason=REASONS,
    label=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=LONGEST_LABEL),
    score=st.floats(0, 1),
)
def test_a_name_tells_what_it_was_made_of(wall: float, reason: Any, label: str, score: float) -> None:
    made = KeptPicture.at(wall, reason, label, score)
    assert len(made.name.encode()) <= 255
    assert "/" not in made.name
    told = KeptPicture.named(made.name)
    assert told is not None
    assert (told.time, told.reason, told.score) == (made.time, reason, made.score)
    assert told.label == label or len(label.encode()) > 60  # a long one is cut


@pytest.mark.parametrize("name", [".", "..", "...", "a", ".hidden"])
def test_no_camera_is_called_so_that_its_pictures_lie_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = folder_of(name, name)
    assert folder.resolve().parent.parent == (tmp_path / "adainf" / "collect").resolve()


@pytest.mark.parametrize("wrong", ["pictures = 0", "megabytes = 0", "a_minute = 61", "margin = nan", "other = 1"])
def test_bounds_that_are_none_are_refused(
    run_forked: Any, network: Network, clip: Path, tmp_path: Path, ipc: str, wrong: str
) -> None:
    file = configured(tmp_path / "c.toml", network, ipc, {"name": "door", "source": str(clip)}, wrong)
    assert_refused(run_forked("check-config", file), 78, "collect", wrong.partition(" ")[0])
