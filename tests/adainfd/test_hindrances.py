"""A daemon that cannot write goes on recognising, says what is lost, and is well again when it can."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import daemons
import structlog
from adainfd.base.keeping import Keeper
from daemons import Network, await_true

from adainf.base.hindrances import Hindered, Hindrances


def test_what_cannot_be_written_stops_no_recognition(
    tmp_path: Path, environment: dict[str, str], run: Callable[..., Any], network: Network, clip: Path, ipc: str
) -> None:
    camera = {"name": "door", "source": str(clip), "loop": True}
    config, port = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[camera]), daemons.free_port()
    config.write_text(f'{config.read_text()}\n[web]\nbind = "127.0.0.1:{port}"\n[events]\nstay_seconds = 3600\n')
    trace, (reads, writes) = tmp_path / "t.trace", os.pipe()
    nobody = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    command = [sys.executable, "-m", "adainfd", "run", "--config", str(config), "--record", str(trace), "--log-results"]
    daemon = subprocess.Popen(command, env=environment | nobody, stderr=writes, start_new_session=True)
    os.close(writes)
    try:
        with daemons.listening(ipc) as receive:

            def heard(
                wanted: Callable[[dict[str, Any]], bool], seconds: float = daemons.START_SECONDS
            ) -> dict[str, Any]:
                return next(m for _, m in iter(lambda: receive(seconds), None) if wanted(m))

            def answers(frames: int) -> None:
                first = heard(lambda m: "frame" in m)["frame"]
                heard(lambda m: "frame" in m and m["frame"] >= first + frames, 5)

            answers(30)
            # Now as on a full disk, with lines that nobody reads: those of a minute fill the pipe at once.
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (trace.stat().st_size + 100, resource.RLIM_INFINITY))
            degraded = heard(lambda m: m.get("state") == "degraded" and "File too large" in (m["detail"] or ""))
            assert "systemd cannot be told (No such file or directory)" in degraded["detail"]
            answers(40)
            beat = heard(lambda m: m.get("lost") is not None)
            assert beat["lost"]["trace_lines"] >= 30
            assert beat["detail"].count("the trace") == 1
            assert (
                f"the trace {trace} cannot be written (File too large), {beat['lost']['trace_lines']} lost"
                in (beat["detail"])
            )
            metrics: dict[str, str] = {}

            def measured() -> bool:  # a heartbeat is published before it is counted
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                    lines = page.read().decode().splitlines()
                metrics.update(line.rsplit(" ", 1) for line in lines if line[0] != "#")
                return float(metrics['adainf_lost_total{what="trace_lines"}']) >= 30

            await_true(measured, 5, "the metrics of the heartbeat")
            assert float(metrics['adainf_lost_total{what="notifications"}']) >= 1
            assert metrics["adainf_degraded"] == "1.0"

            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            heard(lambda m: "detail" in m and "the trace" not in (m["detail"] or ""))
            answers(10)
        daemon.terminate()
        os.set_blocking(reads, False)
        said = b""

        def ended() -> bool:
            nonlocal said
            with contextlib.suppress(BlockingIOError):
                said += os.read(reads, 1 << 16)
            return daemon.poll() is not None

        await_true(ended, 10, "the daemon ends")
    finally:
        daemon.kill()
        daemon.wait()
        os.close(reads)
    assert daemon.returncode == 0
    events = [json.loads(line) for line in said.decode().splitlines()]
    assert [event["why"] for event in events if event["event"] == "trace_not_written"] == ["File too large"]
    assert [event["event"] for event in events].count("trace_written_again") == 1
    result = run("replay", trace, "--check")
    assert result.returncode == 0, result.stdout
    assert "lines could not be written, and are not compared" in result.stdout


def closed_pipe() -> int:
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def full_pipe() -> int:
    """Its reader is there, and never reads."""
    _, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"x" * 4096)
    os.set_blocking(writes, True)
    return writes


def test_a_log_that_cannot_be_written(
    tmp_path: Path, environment: dict[str, str], network: Network, clip: Path
) -> None:
    """In a full pipe there is room for the few lines of a quiet daemon: they wait."""
    logs = {"No space left on device": os.open("/dev/full", os.O_WRONLY), "Broken pipe": closed_pipe(), "": full_pipe()}
    daemons_by_why: dict[str, subprocess.Popen[bytes]] = {}
    camera = {"name": "door", "source": str(clip), "loop": True}
    with contextlib.ExitStack() as parts:
        heard: dict[str, Callable[[float], tuple[str, dict[str, Any]]]] = {}
        for number, (why, log) in enumerate(logs.items()):
            ipc = f"ipc://{tmp_path}/{number}"
            config = network.configuration(tmp_path / f"{number}.toml", bind=ipc, cameras=[camera])
            command = [sys.executable, "-m", "adainfd", "run", "--config", str(config), "--seconds", "3"]
            heard[why] = parts.enter_context(daemons.listening(ipc))
            daemon = subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)
            daemons_by_why[why] = daemon
            parts.callback(daemon.wait)
            parts.callback(daemon.kill)
        for why, receive in heard.items():
            seen: list[dict[str, Any]] = []
            while not seen or seen[-1].get("state") != "stopped":
                seen.append(receive(daemons.START_SECONDS)[1])
            assert daemons_by_why[why].wait(10) == 0
            assert max(message.get("frame", 0) for message in seen) > 20
            degraded = {str(message["detail"]) for message in seen if message.get("state") == "degraded"}
            assert bool(degraded) == bool(why)
            assert all(text.startswith(f"log lines cannot be written ({why}), ") for text in degraded)


class Part(Hindered):
    def __init__(self) -> None:
        self.why: str | None = None
        self.count = 0

    @property
    def hindrance(self) -> str | None:
        return self.why

    @property
    def lost(self) -> dict[str, int]:
        return {"things": self.count}

    def retry(self) -> None:
        self.why = None


def test_all_that_hinders_stands_on_one_line() -> None:
    hindrances, one, other = Hindrances(), Part(), Part()
    hindrances.watch(one)
    hindrances.watch(other)
    assert hindrances.text is None
    one.why, other.why, one.count, other.count = "one is full", "other is gone", 2, 3
    assert (hindrances.text, hindrances.lost) == ("one is full; other is gone", {"things": 5})
    assert hindrances.hindered == (one, other)
    hindrances.retry()
    assert hindrances.text is None


def test_what_was_learned_is_written_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    keeper = Keeper(structlog.wrap_logger(structlog.ReturnLogger()))
    keeper.keep("timings", tmp_path / "state" / "a.json", "{}")
    assert keeper.hindrance == "timings cannot be kept (File exists)"
    keeper.retry()
    assert keeper.hindrance is not None
    (tmp_path / "state").unlink()
    keeper.retry()
    assert keeper.hindrance is None
    assert (tmp_path / "state" / "a.json").read_text() == "{}"
