"""Events of a daemon: what appears, stays and goes, as an automation that subscribes to nothing else is told it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from daemons import START_SECONDS, Network, camera_processes, listening, write_video
from jsonschema import Draft202012Validator

SCHEMA = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "event.json").read_text(encoding="utf-8"))
)


def test_events_say_what_the_results_say(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", 75, moves=lambda number: number > 25)
    camera = {
        "name": "door",
        "source": str(video),
        "events": {"minimum_score": 0.1, "appear_seconds": 0.3, "gone_seconds": 0.2, "stay_seconds": 1.0},
    }
    results: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    there: set[str] = set()
    beats: list[set[str]] = []
    with listening(ipc) as receive:
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
        program = launch("run", "--config", file)
        while True:
            topic, message = receive(START_SECONDS)
            if topic == "result/here/door":
                results.append(message)
            if topic == "event/here/door":
                SCHEMA.validate(message)
                events.append(message)
                (there.discard if message["event"] == "gone" else there.add)(message["label"])
            if topic == "status/here" and message["present"] is not None:
                (present,) = message["present"]
                assert (present["camera"], present["region"]) == ("door", None)
                assert {label["label"] for label in present["labels"]} == there  # for those who missed the events
                beats.append(set(there))
            if topic == "status/here" and message["state"] == "stopped":
                break
    assert program.ended(START_SECONDS) == 0
    assert any(beats)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert {"appeared", "gone"} <= {event["event"] for event in events}
    scores = {(result["frame"], label["label"]): label["score"] for result in results for label in result["labels"]}
    for event in events:
        if event["event"] == "appeared":
            between = [r["frame"] for r in results if event["first"]["frame"] <= r["frame"] <= event["last"]["frame"]]
            assert all(scores.get((frame, event["label"]), 0.1) >= 0.1 for frame in between)
            assert event["seconds"] >= 0.3
        assert event["score"] >= 0.1
    for label in {event["label"] for event in events}:
        kinds = [event["event"] for event in events if event["label"] == label]
        assert (kinds[0], kinds[-1]) == ("appeared", "gone")
    assert events[-1]["why"] == "stopped"


def test_no_label_above_the_minimum_is_none_of_these(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    """The minimum is the general one, or a camera's own."""
    video = write_video(tmp_path / "v.avi", 25, moves=lambda _: True)
    cameras = [
        {"name": "strict", "source": str(video)},
        {"name": "lax", "source": str(video), "events": {"minimum_score": 0.05}},
    ]
    told: dict[str, set[bool]] = {"strict": set(), "lax": set()}
    events: set[str] = set()
    with listening(ipc) as receive:
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        file.write_text(f"events = {{minimum_score = 1.0}}\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
        launch("run", "--config", file, "--policy", "balanced")
        while True:
            topic, message = receive(START_SECONDS)
            if topic.startswith("result/"):
                told[message["camera"]].add(message["none_of_these"])
            if topic.startswith("event/"):
                events.add(message["camera"])
            if topic == "status/here" and message["state"] == "stopped":
                break
    assert told == {"strict": {True}, "lax": {False}}
    assert events == {"lax"}


def test_what_a_hanging_camera_showed_is_gone_until_a_new_process_shows_it_again(
    launch: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "v.avi", 25, moves=lambda _: False)
    camera = {
        "name": "door",
        "source": str(video),
        "loop": True,
        "stall_seconds": 0.5,
        "retry_seconds": 0.1,
        "events": {"minimum_score": 0.05, "appear_seconds": 0.1, "gone_seconds": 0.1},
    }
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    told: list[str] = []
    with listening(ipc) as receive:
        program = launch("run", "--config", file)

        def until(topic: str, key: str, value: str) -> dict[str, Any]:
            while True:
                name, message = receive(START_SECONDS)
                if name == "status/here/door":
                    told.append(message["code"] or message["state"])
                if name == topic and message[key] == value:
                    return message

        shown = until("event/here/door", "event", "appeared")
        (door,) = camera_processes(program.process.pid)
        os.kill(door, signal.SIGSTOP)
        gone = until("event/here/door", "event", "gone")
        assert (gone["label"], gone["why"]) == (shown["label"], "no_pictures")
        again = until("event/here/door", "event", "appeared")
        assert again["label"] == shown["label"]
        assert again["first"]["frame"] > gone["last"]["frame"]
        assert camera_processes(program.process.pid) != [door]
        assert told[-4:] == ["no_frames", "process_hung", "connecting", "online"]
