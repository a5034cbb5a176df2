"""What a running daemon tells those who come late, and `adainfd tail`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import daemons
import pytest
from adainfd.client import Result, Status, Subscriber
from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def endpoint(
    tmp_path_factory: pytest.TempPathFactory, network: daemons.Network, clip: Path, environment: dict[str, str]
) -> Iterator[str]:
    """Of a daemon that runs as long as these tests."""
    folder = tmp_path_factory.mktemp("daemon")
    address = f"ipc://{folder}/s"
    camera = {"name": "door", "source": str(clip), "loop": True}
    file = network.configuration(folder / "c.toml", bind=address, cameras=[camera])
    daemon = daemons.start(["run", "--config", file], folder, environment)
    daemon.await_event("camera_online")
    yield address
    daemon.kill()


def test_late_subscriber_is_told_the_last_status_again(endpoint: str) -> None:
    with daemons.listening(endpoint, b"status/") as receive:
        told = dict(receive(2) for _ in range(2))
    assert {topic: (status["state"], status["repeated"]) for topic, status in told.items()} == {
        "status/here": ("ready", True),
        "status/here/door": ("online", True),
    }
    model = told["status/here"]["model"]
    assert (model["backbone"], model["full_branch"]) == ("cifar/resnet20", "32:111111111")
    assert model["full_ms"] == 2.0


def test_heart_beats_each_second(endpoint: str) -> None:
    beats: list[dict[str, Any]] = []
    with daemons.listening(endpoint, b"status/") as receive:
        while len(beats) < 4:
            topic, status = receive(3)
            if topic == "status/here" and not status["repeated"]:
                beats.append(status)
    assert [beat["sequence"] - beats[0]["sequence"] for beat in beats] == [0, 1, 2, 3]
    assert beats[3]["published_at"] - beats[0]["published_at"] == pytest.approx(3, abs=0.6)


def test_count_of_lines(run: Any, endpoint: str) -> None:
    result = run("tail", "--connect", endpoint, "--count", "3")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 3
    assert all("door" in line and "budget" in line and "MMACs" in line for line in result.stdout.splitlines())


def test_json_lines_are_the_messages(run: Any, endpoint: str) -> None:
    result = run("tail", "--connect", endpoint, "--count", "3", "--json")
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(messages) == 3
    for message in messages:
        Draft202012Validator(SCHEMA).validate(message)
        assert message["schema"] == "adainf.result/1"
    assert [message["sequence"] - messages[0]["sequence"] for message in messages] == [0, 1, 2]


def test_reader_that_leaves_ends_tail_quietly(endpoint: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "adainfd", "tail", "--connect", endpoint]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "door" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_ctrl_c_ends_tail_quietly(launch: Any, endpoint: str) -> None:
    tail = launch("tail", "--connect", endpoint)
    daemons.await_true(lambda: tail.out.stat().st_size, 20, "a line")
    tail.process.send_signal(2)
    assert tail.ended(5) == 0
    assert tail.said.strip() == ""


def test_tail_says_that_it_waits(launch: Any, ipc: str) -> None:
    tail = launch("tail", "--connect", ipc)
    daemons.await_true(lambda: tail.said, 20, "a line")
    assert tail.said == f"adainfd: nothing from {ipc} yet; waiting for a daemon there\n"
    assert tail.process.poll() is None


def test_subscriber(endpoint: str) -> None:
    with Subscriber(endpoint, topics=("result/", "status/")) as messages:
        kinds = set()
        while kinds != {Result, Status}:
            message = messages.receive(5)
            assert message is not None
            kinds.add(type(message))
        assert messages.lost == 0
        assert isinstance(next(iter(messages)), Result | Status)


def test_subscriber_of_another_topic_hears_nothing(endpoint: str) -> None:
    with Subscriber(endpoint, topics=("result/here/yard",)) as messages:
        assert messages.receive(0.5) is None


def test_tail_says_that_it_is_not_let_in(launch: Any, run: Any, network: daemons.Network, clip: Path, ipc: str) -> None:
    for name in ("box", "clients/friend", "stranger"):
        Path(ipc.removeprefix("ipc://")).with_name("clients").mkdir(exist_ok=True)
        assert run("keys", "new", name).returncode == 0
    folder = Path(ipc.removeprefix("ipc://")).parent
    address = f"tcp://127.0.0.1:{daemons.free_port()}"
    file = network.configuration(
        folder / "c.toml", bind=address, cameras=[{"name": "door", "source": str(clip), "loop": True}]
    )
    keys = f'[publish]\nkey = "{folder}/box.key_secret"\nclients = "{folder}/clients"\n'
    file.write_text(file.read_text(encoding="utf-8").replace("[publish]\n", keys), encoding="utf-8")
    daemon = launch("run", "--config", file)
    daemon.await_event("ready")
    tell = ["tail", "--connect", address, "--count", "1", "--server", "box.key", "--key"]
    assert "door" in run(*tell, "clients/friend.key_secret").stdout
    stranger = launch(*tell, "stranger.key_secret")
    daemons.await_true(lambda: stranger.said, 20, "a line")
    assert stranger.said == f"adainfd: {address} does not let us in: our key is not among its clients\n"
    refused = daemon.await_event("client_refused", 5)
    assert (refused["address"], refused["refused"]) == ("127.0.0.1", 1)
    with daemons.listening(address) as receive, pytest.raises(AssertionError, match="no message"):
        receive(0.3)
