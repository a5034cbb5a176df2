"""A running daemon with few descriptors, whose web server is crowded by connections that say nothing."""

import contextlib
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daemons
from daemons import START_SECONDS, Network, listening, processor_seconds
from raw_http import answered

DESCRIPTORS, IDLE = 256, 300


def get(address: str, path: str) -> bytes:
    """The answer; two seconds at most for each step."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=2) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return answered(client)


def test_idle_connections_hinder_neither_cameras_nor_sensors_nor_watchers(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    camera = {"name": "door", "source": str(clip), "loop": True, "fps": 10, "retry_seconds": 0.1}
    file, address = (
        network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]),
        f"127.0.0.1:{daemons.free_port()}",
    )
    file.write_text(f'{file.read_text(encoding="utf-8")}\n[web]\nbind = "{address}"\n', encoding="utf-8")
    daemon = launch("run", "--config", file)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    host, port = address.split(":")
    with listening(ipc) as receive, contextlib.ExitStack() as clients:

        def heard(wanted: Callable[[dict[str, Any]], bool], seconds: float = 5) -> dict[str, Any]:
            end = time.monotonic() + seconds
            return next(m for _, m in iter(lambda: receive(end - time.monotonic()), None) if wanted(m))

        def answers(frames: int) -> dict[str, Any]:
            last: dict[str, Any] = {}
            for _ in range(frames):
                last = heard(lambda m: "signals" in m and not m["repeated"])
            return last

        heard(lambda m: "signals" in m, START_SECONDS)
        for _ in range(IDLE):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((host, int(port)))
        begun, used = time.monotonic(), processor_seconds(daemon.process.pid)
        answers(10)
        assert get(address, "/live").startswith(b"HTTP/1.0 200")
        busy = (processor_seconds(daemon.process.pid) - used) / (time.monotonic() - begun)
        assert busy < 0.6
        [child] = daemons.camera_processes(daemon.process.pid)
        os.kill(child, signal.SIGKILL)
        heard(lambda m: m.get("camera") == "door" and m.get("state") == "offline")
        heard(lambda m: m.get("camera") == "door" and m.get("state") == "online", 10)
        known = answers(10)["signals"]
        assert None not in (known["cpu_foreign"], known["cpu_queue"])
        assert len(daemons.descriptors(daemon.process.pid)) < DESCRIPTORS / 2
        metrics = get(address, "/metrics").decode()
    refused = daemon.await_event("web_refused")
    assert (refused["kind"], refused["client"]) == ("crowded", "127.0.0.1")
    assert 'adainf_web_refused_total{why="crowded"} 0.0' not in metrics
    assert not [line for line in daemon.named("unknown") if line["signal"].startswith("cpu")]
