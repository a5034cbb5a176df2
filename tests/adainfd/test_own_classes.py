"""Views with classes of their own: what they answer, which branches run, and how other classes are taken up."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from colours import film, picture, teach
from daemons import START_SECONDS, Network, assert_refused, await_true, listening
from forking import Zygote

from adainf.classes.taught import Taught

Receive = Callable[[float], tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def colours(zygote: Zygote, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(zygote, network, ("red", "blue"), tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def others(zygote: Zygote, network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(zygote, network, ("green", "red"), tmp_path_factory.mktemp("others"))


def next_result(receive: Receive, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while True:
        topic, message = receive(START_SECONDS)
        if topic.startswith("result/") and wanted(message):
            return message


def best(message: dict[str, Any]) -> str:
    return str(message["labels"][0]["label"])


def test_a_camera_answers_with_what_it_was_taught_along_the_branches_that_know_it(
    launch: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    clip = film(tmp_path / "c.avi", lambda number: picture("red" if number < 20 else "blue", 100 + number))
    camera = {"name": "door", "source": str(clip), "classes": str(colours)}
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    trace = tmp_path / "t.trace"
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file, "--record", trace)
        seen = [next_result(receive, lambda _: True)]
        while seen[-1]["frame"] < 39:
            seen.append(next_result(receive, lambda _: True))
    assert daemon.ended(20) == 0
    shown = [message for message in seen if message["frame"] not in range(20, 24)]  # these rest on the frames before
    right = [best(message) == ("red" if message["frame"] <= 20 else "blue") for message in shown]
    assert sum(right) >= 0.9 * len(right)  # a network with random weights finds some noise unknown
    taught = Taught.read(colours)
    known = {str(m.branch): m.accuracy for m in taught.profile.branches}
    for message in seen:
        assert {label["label"] for label in message["labels"]} <= set(taught.names)
        assert message["plan"]["branch"] in known
    assert any(message["plan"]["expected_accuracy"] == known[message["plan"]["branch"]] for message in seen)
    named = {event["label"] for event in daemon.named("event")} if daemon.named("event") else {"red"}
    assert named <= set(taught.names)


def test_replay_knows_the_questions(
    launch: Any, run: Any, network: Network, colours: Path, tmp_path: Path, ipc: str
) -> None:
    clip = film(tmp_path / "c.avi", lambda number: picture("red" if number % 10 < 5 else "blue", number, 160))
    camera = {
        "name": "door",
        "source": str(clip),
        "regions": {"left": [0, 0, 0.5, 1], "right": [0.5, 0, 1, 1]},
        "classes": {"left": str(colours)},
    }
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])
    with listening(ipc, b"result/") as receive:
        daemon = launch("run", "--config", file, "--record", tmp_path / "t.trace")
        left = next_result(receive, lambda message: message["region"] == "left")
        right = next_result(receive, lambda message: message["region"] == "right")
    assert daemon.ended(20) == 0
    assert best(left) in ("red", "blue")
    assert best(right) in network.labels
    checked = run("replay", tmp_path / "t.trace", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "0 of" in checked.stdout


def test_a_reload_takes_up_other_classes_and_keeps_those_before_where_they_are_damaged(
    launch: Any, network: Network, colours: Path, others: Path, tmp_path: Path, ipc: str
) -> None:
    used = tmp_path / "used.classes"
    shutil.copy(colours, used)
    clip = film(tmp_path / "c.avi", lambda number: picture("red", number))
    file = network.configuration(
        tmp_path / "c.toml",
        bind=ipc,
        cameras=[{"name": "door", "source": str(clip), "loop": True, "classes": str(used)}],
    )
    with listening(ipc) as receive:
        daemon = launch("run", "--config", file)
        assert best(next_result(receive, lambda _: True)) in ("blue", "red", "unknown")

        def reload(event: str) -> dict[str, Any]:
            before = len(daemon.named(event))
            daemon.process.send_signal(signal.SIGHUP)
            await_true(lambda: len(daemon.named(event)) > before, 10, "a reload")
            return dict(daemon.named(event)[-1])

        used.write_bytes(used.read_bytes()[:-100])
        assert str(used) in reload("reload_failed")["why"]
        assert best(next_result(receive, lambda _: True)) in ("blue", "red", "unknown")

        of_another = Taught.read(colours)
        networks = (of_another.profile.reference.model_copy(update={"weights": "f" * 64}),)
        replace(of_another, profile=of_another.profile.model_copy(update={"networks": networks})).write(used)
        assert "has with other weights" in reload("reload_failed")["why"]

        shutil.copy(others, used)
        reload("reloaded")
        message = next_result(receive, lambda m: {label["label"] for label in m["labels"]} & {"green"} != set())
        assert {label["label"] for label in message["labels"]} == {"green", "red", "unknown"}
    daemon.process.terminate()
    assert daemon.ended(10) == 0


def test_what_cannot_be_asked_is_refused(
    run_forked: Any, network: Network, colours: Path, clip: Path, tmp_path: Path, ipc: str
) -> None:
    def said(camera: dict[str, Any], change: Callable[[str], str] = lambda text: text) -> Any:
        whole = {"name": "door", "source": str(clip), **camera}
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[whole])
        file.write_text(change(file.read_text()))
        return run_forked("check-config", file)

    damaged = tmp_path / "damaged.classes"
    damaged.write_bytes(colours.read_bytes()[:500])
    assert_refused(said({"classes": str(damaged)}), 78, str(damaged))
    assert_refused(said({"classes": str(tmp_path / "none")}), 78, str(tmp_path / "none"))
    assert_refused(said({"classes": str(colours), "labels": [network.labels[0]]}), 78, "labels")
    assert_refused(said({"classes": {"gate": str(colours)}}), 78, "'gate' is no region of this camera")
    other = json.loads(network.profile.read_text())
    other["networks"][0]["weights"] = "f" * 64
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert_refused(
        said({"classes": str(colours)}, lambda text: text.replace(str(network.profile), str(tmp_path / "other.json"))),
        78,
        "classes blue, red",
        "other weights",
    )
    assert said({"classes": str(colours)}).returncode == 0
