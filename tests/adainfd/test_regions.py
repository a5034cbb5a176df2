"""Per-camera settings, as a subscriber notices them: regions, mask, policy of one's own, and turns."""

import signal
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.answering.session import cropped
from daemons import START_SECONDS, Network, listening
from hypothesis import given
from hypothesis import strategies as st

fractions = st.floats(0, 1)


@given(st.integers(1, 60), st.integers(1, 60), st.data(), st.floats(0.5, 1))
def test_crop_is_never_empty_and_holds_all_of_its_region(
    height: int, width: int, data: st.DataObject, seen: float
) -> None:
    left, right = sorted(data.draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(data.draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
    crop = cropped(picture, (left, top, right, bottom), seen)
    assert min(crop.shape[:2]) >= 1
    # A pixel may be lost where edges are rounded.
    lost = int(picture.sum() - crop.sum()) // 3
    assert lost <= 2 * (height + width)


def test_region_in_the_middle_becomes_a_square() -> None:
    picture = np.zeros((1080, 1920, 3), np.uint8)
    assert cropped(picture, (0.4, 0.5, 0.5, 0.55), 1.0).shape == (192, 192, 3)
    assert cropped(picture, (0.0, 0.0, 1.0, 0.1), 1.0).shape == (1080, 1920, 3)


def halves(path: Path) -> Path:
    """A video whose left half rests and whose right half flickers."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 80))
    noise = np.random.default_rng(3)
    still = noise.integers(0, 255, (80, 80, 3), np.uint8)
    for _ in range(50):
        writer.write(np.hstack([still, noise.integers(0, 255, (80, 80, 3), np.uint8)]))
    writer.release()
    return path


def results(launch: Any, file: Path, ipc: str, *more: str | Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The results until the daemon has ended, and the accounts in its log."""
    found: list[dict[str, Any]] = []
    with listening(ipc) as receive:
        program = launch("run", "--config", file, *more)
        while True:
            topic, message = receive(START_SECONDS)
            if topic.startswith("result/"):
                found.append(message)
            if topic == "status/here" and message["state"] == "stopped":
                break
    assert program.ended(START_SECONDS) == 0, program.said
    return found, program.named("frames")


def test_each_region_is_recognised_for_itself_and_the_frame_counts_once(
    launch: Any, run: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    camera = {
        "name": "street",
        "source": str(halves(tmp_path / "halves.avi")),
        "regions": {"left": [0.0, 0.0, 0.5, 1.0], "right": [0.5, 0.0, 1.0, 1.0]},
    }
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    trace = tmp_path / "t.trace"
    found, accounts = results(launch, file, ipc, "--record", trace)
    by_region = {name: [m for m in found if m["region"] == name] for name in ("left", "right")}
    frames = {
        name: [m["frame"] for m in said if m["plan"]["chosen_by"] != "second_look"] for name, said in by_region.items()
    }
    assert frames["left"] == frames["right"] == sorted(set(frames["left"]))
    assert [message["sequence"] for message in found] == list(range(1, len(found) + 1))
    assert "reuse" in {message["plan"]["chosen_by"] for message in by_region["left"]}
    assert "reuse" not in {message["plan"]["chosen_by"] for message in by_region["right"]}
    assert max(message["signals"]["motion"] or 0 for message in by_region["left"][1:]) < 0.05
    assert max(message["signals"]["motion"] or 0 for message in by_region["right"]) > 0.2
    assert accounts[0]["published"] + accounts[0]["reused"] == len(frames["left"])
    assert accounts[0]["captured"] == 50
    replayed = run("replay", trace, "--check")
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout


def test_what_is_masked_is_never_seen_and_is_no_motion(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    camera = {
        "name": "street",
        "source": str(halves(tmp_path / "halves.avi")),
        "mask": [[[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]],
    }
    found, _ = results(launch, network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]), ipc)
    assert max(message["signals"]["motion"] or 0 for message in found) < 0.05
    assert "reuse" in {message["plan"]["chosen_by"] for message in found}


def test_camera_with_a_policy_of_its_own(launch: Any, run: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    thrifty = tmp_path / "thrifty.toml"
    thrifty.write_text("[budget]\nmaximum = 0.3\n", encoding="utf-8")
    general = tmp_path / "general.toml"
    general.write_text("[budget]\nmaximum = 0.9\n", encoding="utf-8")
    video = str(halves(tmp_path / "halves.avi"))
    cameras = [{"name": "yard", "source": video, "policy": str(thrifty)}, {"name": "door", "source": video}]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    trace = tmp_path / "t.trace"
    found, _ = results(launch, file, ipc, "--policy", general, "--record", trace)
    budgets: dict[str, set[float]] = {"yard": set(), "door": set()}
    for message in found:
        if message["budget"]["limited_by"] != "cameras":  # on a busy box both may wait at once
            budgets[message["camera"]].add(message["budget"]["fraction"])
    assert budgets == {"yard": {0.3}, "door": {0.9}}
    replayed = run("replay", trace, "--check")
    assert replayed.returncode == 0, replayed.stderr + replayed.stdout


@pytest.mark.parametrize(("names", "left"), [("missing.toml", "missing.toml"), ("nosuch", "nosuch")])
def test_policy_of_a_camera_that_is_not_there(
    run: Any, network: Network, tmp_path: Path, names: str, left: str
) -> None:
    camera = {"name": "yard", "source": "x.mp4", "policy": names}
    result = run("check-config", network.configuration(tmp_path / "c.toml", bind="ipc://s", cameras=[camera]))
    assert result.returncode == 78
    assert left in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_edited_policy_of_a_camera_is_taken_up(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[budget]\nmaximum = 0.3\n", encoding="utf-8")
    camera = {"name": "yard", "source": str(halves(tmp_path / "halves.avi")), "loop": True, "policy": str(own)}
    with listening(ipc, b"result/") as receive:
        program = launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]))
        assert receive(START_SECONDS)[1]["budget"]["fraction"] == 0.3
        own.write_text("[budget]\nmaximum = 0.9\n", encoding="utf-8")
        program.process.send_signal(signal.SIGHUP)
        program.await_event("reloaded")
        end = time.monotonic() + START_SECONDS
        while receive(START_SECONDS)[1]["budget"]["fraction"] != 0.9:
            assert time.monotonic() < end
