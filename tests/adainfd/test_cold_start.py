"""Starts with nothing exported and nothing measured: frames are answered before all that may answer them is ready."""

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import structlog
from adainfd.config.configuration import Configuration
from adainfd.model import export_process as exporting
from adainfd.model.export_process import Exporter
from adainfd.model.selection import needed_first, read_profile, wanted_branches
from daemons import START_SECONDS, Network, Program, await_true, listening, process_state

from adainf.base.errors import InvalidInputError
from adainf.profile import Profile

Launch = Callable[..., Program]


@pytest.fixture
def cold(tmp_path: Path) -> dict[str, str]:
    """Folders of this test's own, all empty."""
    return {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "STATE")}


@pytest.fixture
def unmeasured(network: Network, clip: Path, ipc: str, tmp_path: Path) -> Path:
    """A configuration with a profile that holds no times."""
    profile = tmp_path / "profile.json"
    Profile.read(network.profile).model_copy(update={"timings": ()}).write(profile)
    cameras = [{"name": "door", "source": str(clip), "loop": True}]
    return Network(network.weights, profile, network.labels).configuration(
        tmp_path / "c.toml", bind=ipc, cameras=cameras
    )


def loaded(process: int, library: str) -> bool:
    return library in Path(f"/proc/{process}/maps").read_text()


def test_frames_are_answered_while_branches_are_made_ready_and_measured(
    launch: Launch, run: Callable[..., Any], unmeasured: Path, cold: dict[str, str], ipc: str, tmp_path: Path
) -> None:
    trace = tmp_path / "t.trace"
    profile = read_profile(Configuration.read(unmeasured).model)
    arguments = ("run", "--config", unmeasured, "--record", trace)
    daemon = launch(*arguments, **cold)
    with listening(ipc, b"result/") as receive:
        _, first = receive(START_SECONDS)
        assert first["plan"]["branch"] in map(str, needed_first(profile))
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(profile))
        daemon.await_event("measured")
        receive(START_SECONDS)
        assert not loaded(daemon.process.pid, "libtorch")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(10) == 0
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [line["kind"] for line in lines[:2]] == ["header", "frame"]
    ready = [line for line in lines if line["kind"] in ("header", "prepared")]
    assert len(ready[0]["branches"]) < len(ready[-1]["branches"])
    assert ready[0]["times"] == {}
    assert ready[-1]["times"].keys() >= set(ready[-1]["branches"])
    assert run("replay", trace, "--check").returncode == 0

    again = launch(*arguments, **cold)
    again.await_event("ready")
    with listening(ipc, b"result/") as receive:
        receive(START_SECONDS)
    again.process.send_signal(signal.SIGTERM)
    assert again.ended(10) == 0
    assert not again.named("exporting")
    assert json.loads(trace.read_text().splitlines()[0])["times"] == ready[-1]["times"]


def test_where_the_exporter_is_killed_the_daemon_goes_on(
    launch: Launch, unmeasured: Path, cold: dict[str, str], ipc: str
) -> None:
    Path(cold["XDG_CACHE_HOME"]).write_text("no folder")  # so nothing that another process exports could be found
    daemon = launch("run", "--config", unmeasured, **cold)
    with listening(ipc, b"result/") as receive:
        receive(START_SECONDS)
    assert daemon.named("exporter_failed")


def test_the_exporter_tells_where_it_cannot(unmeasured: Path, network: Network, tmp_path: Path) -> None:
    configuration, log = Configuration.read(unmeasured), structlog.get_logger()
    profile = read_profile(configuration.model)
    killed = Exporter(configuration, profile)
    killed.begin()
    os.kill(killed.process_id or 0, signal.SIGKILL)
    assert killed.have_first(log) is None
    assert killed.process_id is None

    wrong = tmp_path / "none.safetensors"
    model = configuration.model.model_copy(update={"weights": str(wrong)})
    refused = Exporter(configuration.model_copy(update={"model": model}), profile)
    refused.begin()
    with pytest.raises(InvalidInputError, match=str(wrong)):
        refused.have_first(log)
    assert not refused.running


def linger(configuration: Configuration, profile: Profile, for_next_start: bool, daemon: Connection) -> None:
    """An exporter that has exported everything, and takes long to end."""
    daemon.send(None)
    time.sleep(START_SECONDS)


def test_nobody_waits_for_an_exporter_that_has_said_all(unmeasured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_work", linger)
    configuration = Configuration.read(unmeasured)
    exporter = Exporter(configuration, read_profile(configuration.model))
    exporter.begin()
    process = exporter.process_id
    assert process is not None
    assert exporter.receive() is None
    assert not exporter.running
    assert process_state(process) in "RS"  # it was not waited for
    exporter.close()
    assert not Path(f"/proc/{process}").exists()


def test_a_stop_ends_the_exporter_and_leaves_nothing_half_written(
    launch: Launch, unmeasured: Path, cold: dict[str, str]
) -> None:
    daemon = launch("run", "--config", unmeasured, **cold)
    daemon.await_event("exporting")
    cache = Path(cold["XDG_CACHE_HOME"])
    await_true(lambda: any(cache.rglob("*.onnx")), START_SECONDS, "an export")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(15) == 0
    files = [file.name for file in cache.rglob("*") if file.is_file()]
    assert all(file.endswith((".onnx", ".sha256", ".json", ".weights")) and file[0] != "." for file in files)
    assert not [folder for folder in cache.rglob(".*") if folder.is_dir()]
