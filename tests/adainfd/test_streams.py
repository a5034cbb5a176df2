"""Streams that break off, freeze and come back, from real servers; the other cameras notice nothing of it."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import (
    START_SECONDS,
    Network,
    Program,
    await_true,
    camera_processes,
    descriptors,
    free_port,
    listening,
    processes,
    processor_seconds,
    write_video,
)
from stream_servers import MjpegServer, RtspServer, h264_file, rtsp_server

QUICK = {"retry_seconds": 0.1, "longest_retry_seconds": 0.5, "open_seconds": 5, "stall_seconds": 1}

Receive = Callable[[float], tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return h264_file(tmp_path_factory.mktemp("h264"))


@pytest.fixture
def server(h264: Path) -> Iterator[RtspServer]:
    with rtsp_server(h264) as running:
        yield running


@pytest.fixture
def watch(launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path) -> Callable[[str], Program]:
    """Start a daemon with the camera `door` at an address beside the camera `yard`, which loops a file."""

    def start(address: str) -> Program:
        cameras = [
            {"name": "door", "source": address, **QUICK},
            {"name": "yard", "source": str(clip), "loop": True},
        ]
        program: Program = launch(
            "run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        )
        return program

    return start


def until(receive: Receive, state: str, camera: str = "door") -> dict[str, Any]:
    """The next status of a camera that says `state`."""

    def told(topic: str, message: dict[str, Any]) -> bool:
        return topic == f"status/here/{camera}" and message["state"] == state and not message["repeated"]

    return _first(receive, told, f"{camera} {state}")


def until_result(receive: Receive, camera: str = "door") -> dict[str, Any]:
    return _first(receive, lambda topic, _: topic == f"result/here/{camera}", f"a result of {camera}")


def _first(receive: Receive, wanted: Callable[[str, dict[str, Any]], bool], what: str) -> dict[str, Any]:
    end = time.monotonic() + START_SECONDS
    while not wanted(*(said := receive(START_SECONDS))):
        assert time.monotonic() < end, f"{what}: not within {START_SECONDS} s"
    return said[1]


def end(program: Program) -> dict[str, dict[str, Any]]:
    """Stop the daemon; the accounts of its cameras, which add up, and no secret anywhere."""
    program.process.terminate()
    assert program.ended(START_SECONDS) == 0
    accounts = {line["camera"]: line for line in program.named("frames")}
    for account in accounts.values():
        dropped = sum(count for name, count in account.items() if name.startswith("dropped_"))
        assert account["captured"] == account["published"] + account["reused"] + dropped
    assert "Traceback" not in program.said
    assert "hunter2" not in program.said
    return accounts


def test_server_that_is_killed_and_comes_back_again_and_again(
    watch: Callable[[str], Program], server: RtspServer, ipc: str
) -> None:
    with listening(ipc) as receive:
        program = watch(server.address)
        until(receive, "online")
        first = until_result(receive)["frame"]
        held: list[tuple[int, int]] = []
        for _ in range(3):
            server.kill()
            offline = until(receive, "offline")
            assert offline["code"] in ("stream_lost", "cannot_open")
            assert "hunter2" not in str(offline)
            server.start()
            until(receive, "online")
            last = until_result(receive)
            door, _ = camera_processes(program.process.pid)
            held.append((len(descriptors(program.process.pid)), len(descriptors(door))))
            assert len(processes(program.process.pid)) == 2
        assert held[-1] == held[0]
        assert last["frame"] > first
    accounts = end(program)
    assert accounts["door"]["published"] > 3
    assert len(program.named("camera_online")) == 5


def test_frozen_server_is_noticed_costs_nothing_and_is_left_for_a_new_connection(
    watch: Callable[[str], Program], server: RtspServer, ipc: str
) -> None:
    with listening(ipc) as receive:
        program = watch(server.address)
        until_result(receive)
        door, _ = camera_processes(program.process.pid)
        server.send_signal(signal.SIGSTOP)
        stalled = until(receive, "stalled")
        assert stalled["code"] == "no_frames"
        before = processor_seconds(door)
        offline = until(receive, "offline")
        assert offline["code"] == "read_timeout"
        waited = offline["published_at"] - stalled["published_at"]
        assert processor_seconds(door) - before < 0.2 * waited
        server.send_signal(signal.SIGCONT)
        until(receive, "online")
        until_result(receive)
        assert camera_processes(program.process.pid)[0] == door
    end(program)


def test_motion_jpeg_over_http(watch: Callable[[str], Program], ipc: str) -> None:
    server = MjpegServer()
    try:
        with listening(ipc) as receive:
            program = watch(server.address)
            until_result(receive)
            server.close()
            assert until(receive, "offline")["code"] == "stream_lost"
            server = MjpegServer(server.port)
            until(receive, "online")
            until_result(receive)
        end(program)
    finally:
        server.close()


def test_camera_that_is_away_at_the_start_is_taken_in_when_it_comes(
    watch: Callable[[str], Program], h264: Path, ipc: str
) -> None:
    server = RtspServer(h264, free_port())
    try:
        with listening(ipc) as receive:
            program = watch(server.address)
            until_result(receive, "yard")
            assert until(receive, "offline")["code"] == "cannot_open"
            server.start()
            until(receive, "online")
            until_result(receive)
        end(program)
        # However often it was tried: the log has a line.
        assert [line["code"] for line in program.named("camera_offline")] == ["cannot_open"]
    finally:
        server.kill()


def test_server_that_takes_the_call_and_says_nothing(watch: Callable[[str], Program], ipc: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with listening(ipc) as receive:
            program = watch(f"rtsp://viewer:hunter2@127.0.0.1:{silent.getsockname()[1]}/cam")
            until_result(receive, "yard")
            assert until(receive, "offline")["code"] == "open_timeout"
            until_result(receive, "yard")
    end(program)


def test_pictures_of_a_folder_in_the_order_of_their_numbers(
    launch: Any, network: Network, ipc: str, tmp_path: Path
) -> None:
    import cv2
    import numpy as np

    shots = tmp_path / "shots"
    shots.mkdir()
    for number in range(1, 13):
        cv2.imwrite(str(shots / f"{number}.png"), np.full((48, 64 if number < 10 else 80, 3), 20 * number, np.uint8))
    (shots / "5.png").write_bytes(b"no picture")
    cameras = [
        {"name": "once", "source": str(shots), "fps": 10},
        {"name": "numbered", "source": str(shots / "%d.png"), "fps": 10, "loop": True},
    ]
    with listening(ipc, b"result/") as receive:
        program = launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras))
        last = [0]
        while last[-1] < 20:
            message = receive(START_SECONDS)[1]
            if message["camera"] == "numbered":
                last.append(message["frame"])
    accounts = end(program)
    assert (accounts["once"]["captured"], accounts["once"]["dropped_undecodable"]) == (12, 1)
    said = [(line["camera"], line["what"], line["why"]) for line in program.named("camera_undecodable")]
    assert sorted(said) == [(name, "5.png", "cannot be decoded") for name in ("numbered", "once")]


def test_rate_cap_is_part_of_the_account(launch: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", 60, fps=50, moves=lambda _: True)
    camera = {"name": "door", "source": str(video), "max_fps": 10}
    program = launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]))
    await_true(lambda: program.process.poll() is not None, START_SECONDS, "the file's end")
    account = program.named("frames")[0]
    assert account["captured"] == 60
    assert account["dropped_over_rate"] >= 48 - 12
    answered = account["published"] + account["reused"] + account["dropped_newer_frame"]
    assert answered == 60 - account["dropped_over_rate"] <= 14
