"""How a box with a GPU starts: the processors answer until its engine is open, and nothing waits for recordings."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from adainfd.config.configuration import Configuration
from adainfd.model.selection import cheapest_of_each, read_profile, wanted_branches
from daemons import START_SECONDS, Network, Program, await_true, listening

from adainf.profile import Profile

Launch = Callable[..., Program]


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """The folder that tells the stand-in what to do."""
    folder = tmp_path / "told"
    folder.mkdir()
    return folder


@pytest.fixture
def with_gpu(told: Path) -> dict[str, str]:
    """The environment of a box with a stand-in for a GPU."""
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests / "stand_in_box"), str(tests), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "ADAINF_STAND_IN": str(told), "XDG_STATE_HOME": str(told / "state")}


@pytest.fixture
def two_cameras(network: Network, clip: Path, ipc: str, tmp_path: Path) -> Path:
    """A configuration with two cameras."""
    cameras = [{"name": name, "source": str(clip), "loop": True} for name in ("door", "yard")]
    return network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)


def test_processors_answer_until_the_gpu_does_and_no_frame_is_lost(
    launch: Launch, two_cameras: Path, with_gpu: dict[str, str], told: Path, ipc: str
) -> None:
    (told / "wait").touch()
    daemon = launch("run", "--config", two_cameras, **with_gpu)
    assert daemon.await_event("ready")["engine"] == "onnx"
    with listening(ipc, b"result/") as receive:
        for _ in range(20):
            receive(START_SECONDS)
        assert not daemon.named("changed_over")
        (told / "wait").unlink()
        assert daemon.await_event("changed_over")["device"] == "stand-in"
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(_profile(two_cameras)))
        daemon.await_event("measured")
        receive(START_SECONDS)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(20) == 0, daemon.said
    accounts = daemon.named("frames")
    assert len(accounts) == 2
    for account in accounts:
        dropped = sum(count for name, count in account.items() if name.startswith("dropped_"))
        assert account["captured"] == account["published"] + account["reused"] + dropped


def test_frames_go_on_while_branches_are_recorded(
    launch: Launch, two_cameras: Path, with_gpu: dict[str, str], told: Path, ipc: str
) -> None:
    empty = {"XDG_CACHE_HOME": str(told / "cache")}  # nothing is exported, so no processor stands in
    (told / "wait-after-first").touch()
    daemon = launch("run", "--config", two_cameras, **with_gpu, **empty)
    profile = _profile(two_cameras)
    with listening(ipc, b"result/") as receive:
        first = [receive(START_SECONDS)[1] for _ in range(20)]
        assert {message["plan"]["branch"] for message in first} == {str(branch) for branch in cheapest_of_each(profile)}
        (told / "wait-after-first").unlink()
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(profile))
        receive(START_SECONDS)
        exports = Path(empty["XDG_CACHE_HOME"])
        all_made = lambda: len([*exports.rglob("*.sha256")]) >= len(wanted_branches(profile))  # noqa: E731
        await_true(all_made, START_SECONDS, "exports for the next start")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(20) == 0, daemon.said
    assert not daemon.named("changed_over")
    again = launch("run", "--config", two_cameras, **with_gpu, **empty)
    assert again.await_event("ready")["engine"] == "onnx"
    again.await_event("changed_over")


def test_stop_while_the_gpus_engine_is_opened(
    launch: Launch, two_cameras: Path, with_gpu: dict[str, str], told: Path, ipc: str
) -> None:
    (told / "wait").touch()
    daemon = launch("run", "--config", two_cameras, **with_gpu)
    with listening(ipc, b"result/") as receive:
        receive(START_SECONDS)
    daemon.process.send_signal(signal.SIGTERM)
    (told / "wait").unlink()
    assert daemon.ended(20) == 0, daemon.said
    assert "Traceback" not in daemon.said


@pytest.mark.parametrize("at_hand", [True, False])
@pytest.mark.parametrize(("fault", "why"), [("broken", "update the driver"), ("full", "out of memory")])
def test_gpu_that_cannot_be_used_leaves_the_processors_to_answer(
    launch: Launch,
    two_cameras: Path,
    with_gpu: dict[str, str],
    told: Path,
    ipc: str,
    fault: str,
    why: str,
    at_hand: bool,
) -> None:
    (told / fault).touch()
    if not at_hand:
        with_gpu["XDG_CACHE_HOME"] = str(told / "cache")
    daemon = launch("run", "--config", two_cameras, **with_gpu)
    with listening(ipc) as receive:
        assert daemon.await_event("prepared")["branches"] == len(wanted_branches(_profile(two_cameras)))
        topic, beat = receive(START_SECONDS)
        while not (topic.startswith("status/") and beat.get("cameras")):
            topic, beat = receive(START_SECONDS)
        assert beat["state"] == "ready", beat
        assert beat["model"]["engine"] == "onnx"
    (warning,) = daemon.named("engine")
    assert why in warning["detail"]
    assert bool(daemon.named("exporting")) is not at_hand
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ended(20) == 0, daemon.said


@pytest.mark.parametrize("at_hand", [True, False])
def test_gpu_that_is_asked_for_and_cannot_be_used_ends_the_daemon(
    launch: Launch, two_cameras: Path, with_gpu: dict[str, str], told: Path, at_hand: bool
) -> None:
    if not at_hand:
        with_gpu["XDG_CACHE_HOME"] = str(told / "cache")
    (told / "broken").touch()
    named = two_cameras.read_text().replace("[model]\n", '[model]\ndevice = "cuda"\n')
    two_cameras.write_text(named)
    daemon = launch("run", "--config", two_cameras, **with_gpu)
    assert daemon.ended(START_SECONDS) == 69
    assert "device 'cuda': its driver is too old; update the driver" in daemon.said
    assert "Traceback" not in daemon.said


def _profile(configuration: Path) -> Profile:
    return read_profile(Configuration.read(configuration).model)
