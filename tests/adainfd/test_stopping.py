"""However a daemon is stopped, nothing of it stays."""

import os
import signal
import time
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
    listening,
    processes,
    shared_memory,
    write_video,
)

STOP_SECONDS = 2.0


@pytest.fixture
def configuration(network: Network, clip: Path, ipc: str, tmp_path: Path) -> Path:
    camera = {"name": "door", "source": str(clip), "loop": True}
    return network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera])


@pytest.fixture
def two_cameras(network: Network, clip: Path, ipc: str, tmp_path: Path) -> Path:
    cameras = [{"name": name, "source": str(clip), "loop": True} for name in ("door", "yard")]
    return network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)


def assert_nothing_left(pids: list[int], memory: set[str]) -> None:
    await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), STOP_SECONDS, "processes end")
    await_true(lambda: shared_memory() <= memory, STOP_SECONDS, "shared memory is freed")


def assert_silent(daemon: Program) -> None:
    """No traceback and no warning: on stderr stand log lines only."""
    assert len(daemon.events) == len(daemon.said.splitlines()), daemon.said


@pytest.mark.parametrize(("number", "group"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)])
def test_signal_while_it_runs(launch: Any, two_cameras: Path, ipc: str, number: int, group: bool) -> None:
    """systemd tells every process of a service, a terminal every process of a job."""
    memory = shared_memory()
    with listening(ipc) as receive:
        daemon = launch("run", "--config", two_cameras)
        while not receive(START_SECONDS)[0].startswith("result/"):
            pass
        children = list(processes(daemon.process.pid))
        (os.killpg if group else os.kill)(daemon.process.pid, number)
        assert daemon.ended(STOP_SECONDS) == 0
        while (last := receive(1))[0] != "status/here" or last[1]["state"] != "stopped":
            pass
    assert len(children) >= 2
    assert_nothing_left(children, memory)
    assert_silent(daemon)
    assert len(daemon.named("frames")) == 2
    assert not daemon.named("camera_failed")


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_as_soon_as_a_camera_process_starts(launch: Any, two_cameras: Path, number: int, group: bool) -> None:
    memory = shared_memory()
    daemon = launch("run", "--config", two_cameras)
    children = await_true(lambda: camera_processes(daemon.process.pid), 30, "a camera process")
    (os.killpg if group else os.kill)(daemon.process.pid, number)
    assert daemon.ended(STOP_SECONDS) == 0
    assert_nothing_left(children, memory)
    assert daemon.said == ""


def test_signal_while_the_model_loads(launch: Any, two_cameras: Path, ipc: str) -> None:
    memory = shared_memory()
    with listening(ipc) as receive:
        daemon = launch("run", "--config", two_cameras)
        said = [receive(START_SECONDS)]  # once the cameras are open; the model is loaded next
        runtime = "onnxruntime"
        maps = Path(f"/proc/{daemon.process.pid}/maps")
        await_true(lambda: runtime in maps.read_text(), 30, "ONNX Runtime is loaded")
        children = list(processes(daemon.process.pid))
        daemon.process.terminate()
        assert daemon.ended(STOP_SECONDS) == 0
        while said[-1][1]["state"] != "stopped":
            said.append(receive(1))
    assert [(topic, status["state"]) for topic, status in said] == [
        ("status/here", "started"),
        ("status/here", "stopped"),
    ]
    assert_nothing_left(children, memory)
    assert daemon.said == ""


@pytest.mark.parametrize("milliseconds", [20, 150, 300, 450])
def test_sigterm_at_any_time_of_the_start(launch: Any, configuration: Path, milliseconds: int) -> None:
    daemon = launch("run", "--config", configuration)
    start = time.monotonic()
    await_true(lambda: time.monotonic() - start > milliseconds / 1000, 5, "time passes")
    daemon.process.terminate()
    assert daemon.ended(STOP_SECONDS) in (0, -signal.SIGTERM)
    assert daemon.said == ""


@pytest.mark.parametrize("library", ["pydantic_core", "zmq"])
def test_ctrl_c_while_libraries_are_loaded(launch: Any, configuration: Path, library: str) -> None:
    daemon = launch("run", "--config", configuration)
    maps = Path(f"/proc/{daemon.process.pid}/maps")
    await_true(lambda: library in maps.read_text(), 30, f"{library} is loaded")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ended(STOP_SECONDS) == 0
    assert daemon.said.strip() == ""


def test_camera_processes_end_with_a_daemon_that_is_killed(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    """One of them just waits ten seconds for its next frame."""
    memory = shared_memory()
    slow = write_video(tmp_path / "slow.avi", 5, fps=0.1, moves=lambda _: True)
    cameras = [{"name": "slow", "source": str(slow)}, {"name": "door", "source": str(clip), "loop": True}]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    with listening(ipc, b"result/") as receive:
        daemon = launch("run", "--config", file)
        while receive(START_SECONDS)[1]["camera"] != "slow":
            pass
    children = list(processes(daemon.process.pid))
    assert len(camera_processes(daemon.process.pid)) == 2
    daemon.process.kill()
    daemon.process.wait()
    assert_nothing_left(children, memory)
    assert "Traceback" not in daemon.said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_camera_process_that_dies_is_told_and_replaced_and_the_other_goes_on(
    launch: Any, two_cameras: Path, ipc: str, number: int
) -> None:
    with listening(ipc, b"") as receive:
        daemon = launch("run", "--config", two_cameras)
        await_true(lambda: len(daemon.named("camera_online")) == 2, START_SECONDS, "both cameras")
        door, yard = camera_processes(daemon.process.pid)
        open_before = len(descriptors(daemon.process.pid))
        os.kill(door, number)
        states: list[str] = []
        frames: dict[str, list[int]] = {"door": [], "yard": []}
        while not frames["door"] or "online" not in states:
            topic, message = receive(START_SECONDS)
            if topic == "status/here/door" and (states or message["state"] == "offline"):
                states.append(message["state"])
                if message["state"] == "offline":
                    assert (message["code"], message["failures"]) == ("process_died", 1)
                    assert message["detail"] == f"its process ended by signal {number:d}"
                    assert 0.5 <= message["retry_in"] <= 1
            if topic.startswith("result/") and states:
                frames[message["camera"]].append(message["frame"])
        assert states == ["offline", "connecting", "online"]
        assert len(frames["yard"]) > 5
        assert len(camera_processes(daemon.process.pid)) == 2
        assert yard in camera_processes(daemon.process.pid)
        assert len(descriptors(daemon.process.pid)) <= open_before
        daemon.process.terminate()
        assert daemon.ended(5) == 0
    assert [line["camera"] for line in daemon.named("camera_offline")] == ["door"]
    assert_silent(daemon)
