"""What a daemon says of videos, seen by a subscriber that has nothing of ours."""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from daemons import START_SECONDS, Network, free_port, listening, write_video
from jsonschema import Draft202012Validator

SCHEMAS = {
    kind: Draft202012Validator(
        json.loads((Path(__file__).parents[2] / "docs" / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    )
    for kind in ("result", "status", "event")
}

Message = dict[str, Any]


def daemon_stopped(message: Message) -> bool:
    return message.get("state") == "stopped" and message["camera"] is None


def heard(receive: Any) -> list[tuple[str, Message]]:
    """Every message until the daemon says that it has stopped, each as its schema wants it."""
    said: list[tuple[str, Message]] = []
    while not said or not daemon_stopped(said[-1][1]):
        topic, message = receive(START_SECONDS)
        SCHEMAS[topic.partition("/")[0]].validate(message)
        said.append((topic, message))
    return said


def results(said: Iterable[tuple[str, Message]], camera: str) -> list[Message]:
    return [message for topic, message in said if topic.startswith("result/") and topic.endswith(f"/{camera}")]


def states(said: Iterable[tuple[str, Message]], camera: str | None = None) -> list[str]:
    return [
        message["state"]
        for topic, message in said
        if topic.startswith("status/") and message["camera"] == camera and not message["repeated"]
    ]


def assert_consistent(answers: list[Message]) -> None:
    """Sequences without holes, budgets kept, and every frame that is missing counted as dropped."""
    assert [answer["sequence"] for answer in answers] == list(range(1, len(answers) + 1))
    first = [answer for answer in answers if answer["plan"]["chosen_by"] != "second_look"]
    for before, after in itertools.pairwise(first):
        missing = after["frame"] - before["frame"] - 1
        assert missing >= 0
        assert missing == after["dropped"]["newer_frame"] - before["dropped"]["newer_frame"]
        assert before["captured_at"] < after["captured_at"] <= after["published_at"]
    for answer in answers:
        assert answer["plan"]["macs_fraction"] <= answer["budget"]["fraction"]
        assert answer["timing_ms"]["total"] >= answer["timing_ms"]["forward"]
        assert (answer["timing_ms"]["forward"] > 0) == (answer["plan"]["chosen_by"] != "reuse")
        scores = [label["score"] for label in answer["labels"]]
        assert scores == sorted(scores, reverse=True)


def assert_counts_agree(frames: Mapping[str, Any]) -> None:
    dropped = sum(count for name, count in frames.items() if name.startswith("dropped_"))
    assert frames["captured"] == frames["published"] + frames["reused"] + dropped


def test_shipped_profile_and_weights_from_end_to_end(
    launch: Any, shared_data: Path, demo_weights: Path, short_profile: Path
) -> None:
    video = shared_data / "videos" / "one-by-one-person-detection.mp4"
    if not video.is_file():
        pytest.skip(f"{video} is missing")
    endpoint = f"tcp://127.0.0.1:{free_port()}"
    with listening(endpoint) as receive:
        arguments = ["--source", video, "--loop", "--bind", endpoint, "--seconds", "6", "--profile", short_profile]
        daemon = launch("run", *arguments, "--policy", "power-saver")
        said = heard(receive)
    answers = results(said, video.stem)
    assert_consistent(answers)
    assert len(answers) > 30
    assert len({answer["plan"]["branch"] for answer in answers}) >= 2
    assert daemon.ended(5) == 0
    assert daemon.events[-1]["event"] == "frames"
    assert_counts_agree(daemon.events[-1])
    assert daemon.out.read_text(encoding="utf-8") == ""


def test_rest_and_motion_take_different_branches(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "door.mp4", 50, moves=lambda number: number >= 25)
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(video)}])
    policy = tmp_path / "whatever-others-do.toml"
    policy.write_text("[motion]\ncurve = [[0.0, 0.4], [0.02, 1.0]]\n", encoding="utf-8")
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file, "--loop", "--seconds", "4.2", "--policy", policy)
        said = heard(receive)
    answers = results(said, "door")
    assert_consistent(answers)
    still = [answer["plan"] for answer in answers if answer["signals"]["motion"] == 0]
    moving = [answer["plan"] for answer in answers if (answer["signals"]["motion"] or 0) > 0.03]
    assert max(plan["macs_fraction"] for plan in still) <= 0.4
    assert max(plan["macs_fraction"] for plan in moving) > 0.5
    assert {answer["budget"]["limited_by"] for answer in answers} >= {"motion"}
    assert answers[0]["signals"]["motion"] is None
    assert {label["label"] for label in answers[0]["labels"]} < set(network.labels)
    assert daemon.ended(5) == 0
    assert states(said, "door") == ["connecting", "online", "stopped"]
    frames = daemon.named("frames")[-1]
    assert frames["published"] + frames["reused"] + frames["second_looks"] == len(answers)
    assert_counts_agree(frames)


def test_file_is_played_once_at_its_own_rate(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "door.mp4", 60, fps=20, moves=lambda _: True)
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(video)}])
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file)
        said = heard(receive)
    answers = results(said, "door")
    assert_consistent(answers)
    assert answers[-1]["frame"] == 60
    assert answers[-1]["captured_at"] - answers[0]["captured_at"] == pytest.approx(60 / 20, rel=0.2)
    assert states(said, "door") == ["connecting", "online", "ended"]
    assert states(said)[-1] == "stopped"
    assert set(states(said)[:-1]) == {"ready"}
    ended = next(message for _, message in said if message.get("state") == "ended")
    account = ended["account"]
    assert account["captured"] == 60 == account["published"] + account["reused"] + account["dropped"]["newer_frame"]
    assert daemon.ended(5) == 0
    assert not daemon.named("camera_broke_off")


def test_truncated_file_plays_to_where_it_breaks_and_says_so(
    launch: Any, network: Network, ipc: str, tmp_path: Path, truncated_clip: Path
) -> None:
    cameras = [
        {"name": "once", "source": str(truncated_clip)},
        {"name": "again", "source": str(truncated_clip), "loop": True},
    ]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file, "--seconds", "3")
        said = heard(receive)
    assert daemon.ended(5) == 0
    broken = daemon.named("camera_broke_off")
    assert sorted(line["camera"] for line in broken) == ["again", "once"]
    assert all("of 25 frames" in line["why"] for line in broken)
    playable = results(said, "once")[-1]["frame"]
    assert 10 < playable < 20
    assert f"after {playable} of" in broken[0]["why"]
    assert results(said, "again")[-1]["frame"] > 2 * playable
    assert states(said, "once") == ["connecting", "online", "ended"]


def test_two_cameras_of_different_sizes_with_labels_of_their_own(
    launch: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    wide = write_video(tmp_path / "wide.mp4", 25, size=(320, 180), moves=lambda _: True)
    tall = write_video(tmp_path / "tall.avi", 25, size=(96, 160), moves=lambda _: False)
    wanted = [network.labels[7], network.labels[2]]
    cameras = [
        {"name": "wide", "source": str(wide), "labels": wanted, "loop": True},
        {"name": "tall", "source": str(tall), "loop": True},
    ]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file, "--seconds", "2")
        said = heard(receive)
    for camera, labels in (("wide", 2), ("tall", 3)):
        answers = results(said, camera)
        assert_consistent(answers)
        assert len(answers) > 10
        assert {len(answer["labels"]) for answer in answers} == {labels}
    for answer in results(said, "wide"):
        assert {(label["label"], label["index"]) for label in answer["labels"]} == {(wanted[0], 7), (wanted[1], 2)}
        assert sum(label["score"] for label in answer["labels"]) == pytest.approx(1, abs=0.001)
    assert daemon.ended(5) == 0
    for frames in daemon.named("frames"):
        assert_counts_agree(frames)


def test_a_second_start_does_without_torch(launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path) -> None:
    """The first start, or the network's own making, leaves what the second needs."""
    file = network.configuration(tmp_path / "small.toml", bind=ipc, cameras=[{"name": "one", "source": str(clip)}])
    first = launch("run", "--config", file)
    assert first.ended(START_SECONDS) == 0
    second = launch("run", "--config", file, "--loop")
    second.await_event("ready")
    loaded = Path(f"/proc/{second.process.pid}/maps").read_text()
    assert "onnxruntime" in loaded
    assert "libtorch" not in loaded


def test_each_result_is_logged_where_that_is_asked_for(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    file = network.configuration(tmp_path / "small.toml", bind=ipc, cameras=[{"name": "one", "source": str(clip)}])
    quiet, talkative = (launch("run", "--config", file, *more) for more in ((), ("--log-results", "--bind", f"{ipc}2")))
    for program in (quiet, talkative):
        assert program.ended(START_SECONDS) == 0
    assert not quiet.named("result")
    (frames,) = talkative.named("frames")
    logged = talkative.named("result")
    assert len(logged) == frames["published"] + frames["reused"] + frames["second_looks"] > 0
    assert all(line["macs_fraction"] <= line["budget"] for line in logged)
