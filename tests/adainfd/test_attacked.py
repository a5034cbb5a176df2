"""A daemon that strangers attack at its port, on a box that allows few open files."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import strangers
from daemons import (
    Network,
    Program,
    await_true,
    camera_processes,
    descriptors,
    free_port,
    listening,
    processor_seconds,
)
from strangers import MORE, SUBSCRIBE, frame, greeting

ALLOWED = 256


@pytest.fixture
def attacked(tmp_path: Path, environment: dict[str, str], network: Network, clip: Path) -> Any:
    """A daemon that plays a clip again and again, and its port."""
    port = f"tcp://127.0.0.1:{free_port()}"
    camera = {"name": "door", "source": str(clip), "loop": True, "fps": 10, "retry_seconds": 0.25}
    file = network.configuration(tmp_path / "c.toml", bind=port, cameras=[camera])
    file.write_text(file.read_text().replace("bind = [", f'bind = ["ipc://{tmp_path}/s", '))
    command = ["sh", "-c", f'ulimit -n {ALLOWED}; exec "$@"', "sh", sys.executable, "-m", "adainfd", "run"]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "--config", str(file)],
            cwd=tmp_path,
            env=environment,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    program = Program(process, out, err)
    program.await_event("ready")
    yield program, port
    program.kill()


def test_half_open_connections_take_nothing_from_cameras_and_sensors(
    attacked: tuple[Program, str], tmp_path: Path
) -> None:
    daemon, port = attacked
    pid = daemon.process.pid
    with listening(f"ipc://{tmp_path}/s") as receive:

        def next_result() -> dict[str, Any]:
            while True:
                topic, message = receive(10)
                if topic.startswith("result/") and not message["repeated"]:
                    return message

        def known() -> set[str]:
            return {name for _ in range(10) for name, value in next_result()["signals"].items() if value is not None}

        await_true(lambda: "cpu_foreign" in known(), 20, "sensors know something")
        before = known()
        begun, used = time.monotonic(), processor_seconds(pid)
        known()
        usual = (processor_seconds(pid) - used) / (time.monotonic() - begun)
        open_: list[socket.socket] = []

        def attempt() -> None:
            open_.append(strangers.connected(port, 0.5))
            open_[-1].sendall(greeting()[: len(open_) % 64])

        rush = threading.Thread(target=strangers.again_and_again, args=(attempt, time.monotonic() + 5))
        rush.start()
        begun, used = time.monotonic(), processor_seconds(pid)
        assert known() == before
        assert (processor_seconds(pid) - used) / (time.monotonic() - begun) < usual + 0.4  # it was 1.3 more
        assert len(descriptors(pid)) < ALLOWED - 32
        (camera,) = camera_processes(pid)
        os.kill(camera, signal.SIGKILL)
        await_true(lambda: next_result() and len(daemon.named("camera_online")) == 2, 15, "the camera is back")
        assert known() == before
        rush.join()

        def counted() -> bool:
            topic, message = receive(10)
            return topic == "status/here" and message["hung_up"] > 10

        await_true(counted, 10, "the status counts them")
        for stranger in open_:
            stranger.close()
        with strangers.subscriber(port) as endless:
            assert strangers.floods_until_hung_up_on(endless, frame(SUBSCRIBE + b"x" * 200, MORE) * 100)
        assert next_result()
    assert daemon.named("reader_hung_up_on")[0]["address"].startswith("127.0.0.1:")
    assert "Traceback" not in daemon.said
