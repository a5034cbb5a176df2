"""The view of a daemon in a terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from daemons import START_SECONDS, Network, listening


def test_once_shows_a_running_daemon(
    launch: Any, run: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    cameras = [
        {"name": "door", "source": str(clip), "loop": True},
        {"name": "street", "source": "rtsp://127.0.0.1:9/x"},
    ]
    launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras))
    with listening(ipc, b"result/") as receive:
        receive(START_SECONDS)
    shown = run("watch", "--once", "--connect", ipc, COLUMNS="160").stdout
    assert re.search(r"^here  degraded  cifar/resnet20 on .* \(onnx\)$", shown, re.MULTILINE), shown
    assert "degraded: street is" in shown
    assert re.search(r"door online +.+ +0\.\d\d .* (motion|maximum|recovery|contention|deadline|savings) ", shown), (
        shown
    )
    assert re.search(r"street (offline|connecting)", shown)


def test_nobody_there(run: Any, ipc: str) -> None:
    result = run("watch", "--once", "--connect", ipc)
    assert (result.returncode, result.stdout) == (69, "")
    assert result.stderr == f"adainfd: nothing from {ipc} (no publisher)\n"


def test_live_in_a_terminal_until_interrupted(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    camera = {"name": "door", "source": str(clip), "loop": True}
    launch("run", "--config", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "adainfd", "watch", "--connect", ipc]
    terminal = {**environment, "TERM": "xterm", "COLUMNS": "150", "LINES": "20"}
    watching = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=terminal, start_new_session=True
    )
    try:
        seen = ""
        end = time.monotonic() + START_SECONDS
        while len(set(re.findall(r"1 camera, (\d+) fps", seen))) < 2:  # it moves
            assert time.monotonic() < end, seen[-2000:]
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
        watching.send_signal(signal.SIGINT)
        while watching.poll() is None:
            assert time.monotonic() < end
            if select.select([ours], [], [], 0.1)[0]:
                os.read(ours, 65536)
        assert watching.returncode == 0
        assert "Traceback" not in seen
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)
        os.close(theirs)
