"""Whatever is wrong: one line that names it, a status that says whether trying again helps, and nothing done."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemons import Network, assert_refused, await_true, free_port, shared_memory

WRONG = 78
MISSING = 69


@pytest.fixture
def wrong_things(tmp_path: Path) -> Path:
    """A folder with files that are not what they should be."""
    (tmp_path / "empty").touch()
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "notes.txt").write_text("no video\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "status", "named"),
    [
        ("no-such.mp4", WRONG, "no-such.mp4: no such file"),
        ("noise.mp4", WRONG, "noise.mp4"),
        ("folder.mp4", WRONG, "folder.mp4"),
        ("empty", WRONG, "empty"),
        ("notes.txt", WRONG, "notes.txt"),
        ("", WRONG, "--source ''"),
        ("97", MISSING, "97: no such camera"),
        ("/dev/video97", MISSING, "/dev/video97: no such camera"),
        ("rtsp://127.0.0.1:1/cam", MISSING, "rtsp://127.0.0.1:1/cam: does not answer"),
        ("nosuch://127.0.0.1/cam", MISSING, "nosuch://127.0.0.1/cam"),
    ],
)
def test_sources(run_forked: Any, wrong_things: Path, ipc: str, source: str, status: int, named: str) -> None:
    assert_refused(run_forked("run", "--source", source, "--bind", ipc), status, named)
    assert not (wrong_things / "s").exists()


def test_one_wrong_file_beside_a_good_one(run: Any, clip: Path, ipc: str) -> None:
    memory = shared_memory()
    result = run("run", "--source", clip, "--source", "no-such.mp4", "--bind", ipc)
    assert_refused(result, WRONG, "no-such.mp4: no such file")
    await_true(lambda: shared_memory() <= memory, 2, "shared memory is freed")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[model]\nbackbon = 'x'", "model.backbon: unknown key; did you mean backbone?"),
        ("[model\n", "is not TOML"),
        ("[model]\nprofile = 'nosuch'", "'nosuch'"),
    ],
)
def test_configurations(run_forked: Any, tmp_path: Path, text: str, named: str) -> None:
    """More of them in test_settings.py; the same line by both ways."""
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    by_run, by_check = run_forked("run", "--config", file, "--source", "x.mp4"), run_forked("check-config", file)
    assert_refused(by_run, WRONG, named)
    assert_refused(by_check, WRONG, named)
    assert by_run.stderr == by_check.stderr


@pytest.mark.parametrize(
    ("content", "named"),
    [(None, "c.toml: cannot be read (No such file"), (b"\xff\xfe\x00", "c.toml: is UTF-16"), ("", "camera: none")],
)
def test_configuration_files(run_forked: Any, tmp_path: Path, content: bytes | str | None, named: str) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else b'[publish]\nbind = ["ipc://s"]\n')
    assert_refused(run_forked("run", "--config", file), WRONG, named)


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [("tcp://127.0.0.1:70000", "port 70000 must be from 1 to 65535"), ("ipc://folder.mp4", "a file that is no socket")],
)
def test_endpoints(run_forked: Any, wrong_things: Path, clip: Path, endpoint: str, named: str) -> None:
    """More of them in wire/test_endpoint.py."""
    assert_refused(run_forked("run", "--source", clip, "--bind", endpoint), WRONG, repr(endpoint), named)


def test_what_is_open_to_the_network_without_keys(run_forked: Any, clip: Path) -> None:
    assert_refused(
        run_forked("run", "--source", clip, "--bind", "tcp://0.0.0.0:5600"), WRONG, "publish", "unprotected = true"
    )


def test_port_in_use(run_forked: Any, clip: Path, ipc: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        result = run_forked("run", "--source", clip, "--bind", ipc, "--bind", taken)
    assert_refused(result, WRONG, taken, "is in use by another program")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--sauce", "x"], "--sauce"),
        (["run", "x"], "x"),
        (["run"], "camera: none given"),
        (["run", "--source", "x", "--seconds", "0"], "--seconds"),
        (["run", "--source", "x", "--seconds", "nan"], "--seconds"),
        (["run", "--source", "x", "--seconds", "soon"], "soon"),
        (["nosuch"], "nosuch"),
        (["run", "--policy", "", "--source", "x"], "model.policy"),
        (["check-config"], "FILE"),
        (["tail", "--count", "0"], "--count"),
        (["tail", "--connect", "tcp://127.0.0.1:70000"], "70000"),
        (["demo", "--seconds", "1"], "--seconds"),
    ],
)
def test_arguments(run_forked: Any, ipc: str, arguments: list[str], named: str) -> None:
    bind = ["--bind", ipc] if arguments[0] == "run" else []
    assert_refused(run_forked(*arguments, *bind), WRONG, named)


def replaced(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("{weights}", "{folder}/no-such.safetensors", ["no-such.safetensors: no such file"]),
        ("{weights}", "{folder}/noise.safetensors", ["noise.safetensors: must be a safetensors file"]),
        ("{weights}", "{folder}/other.safetensors", ["other.safetensors: do not fit cifar/resnet20", "missing"]),
        ("[publish]", "size = 64\n[publish]", ["profile", "32 pixels"]),
        ("[publish]", 'engine = "abacus"\n[publish]', ["engine 'abacus'", "onnx, torch"]),
        ("[[camera]]", '[[camera]]\nlabels = ["unicorn"]', ["camera door: label 'unicorn'"]),
    ],
)
def test_models(
    run_forked: Any, network: Network, tmp_path: Path, clip: Path, ipc: str, before: str, after: str, named: list[str]
) -> None:
    from safetensors.numpy import save_file

    (tmp_path / "noise.safetensors").write_bytes(np.random.default_rng(0).bytes(5000))
    save_file({"conv9.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(clip)}])
    replaced(file, before.format(weights=network.weights), after.format(folder=tmp_path))
    assert_refused(run_forked("run", "--config", file), WRONG, *named)


@pytest.mark.parametrize("backbone", ["nosuch/resnet20", "cifar/resnet21"])
def test_unknown_backbones(
    run_forked: Any, network: Network, tmp_path: Path, clip: Path, ipc: str, backbone: str
) -> None:
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": str(clip)}])
    profile = tmp_path / "p.json"
    profile.write_text(network.profile.read_text(encoding="utf-8"), encoding="utf-8")
    for changed in (file, profile):
        replaced(changed, "cifar/resnet20", backbone)
    replaced(file, str(network.profile), str(profile))
    assert_refused(run_forked("run", "--config", file), WRONG, f"backbone '{backbone}'")


def test_good_configuration(run: Any, network: Network, tmp_path: Path, ipc: str) -> None:
    cameras = [{"name": "door", "source": "door.mp4"}, {"name": "yard", "source": 0}]
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
    result = run("check-config", file)
    assert (result.returncode, result.stderr) == (0, "")
    assert "cifar/resnet20 with 7 branches, policy balanced, cameras: door, yard" in result.stdout


def test_any_free_port_may_be_asked_for(run: Any) -> None:
    result = run("run", "--source", "no-such.mp4", "--bind", "tcp://127.0.0.1:*")
    assert_refused(result, WRONG, "no-such.mp4")


def test_socket_file_left_behind_is_replaced(run_forked: Any, tmp_path: Path, ipc: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
    assert_refused(run_forked("run", "--source", "no-such.mp4", "--bind", ipc), WRONG, "no-such.mp4")


def test_opencv_without_libgl(run: Any, tmp_path: Path, clip: Path, ipc: str) -> None:
    broken = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")\n'
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "cv2.py").write_text(broken, encoding="utf-8")
    result = run("run", "--source", clip, "--bind", ipc, PYTHONPATH=str(tmp_path / "without"))
    assert_refused(result, MISSING, "apt-get install libgl1")


def test_credentials_are_nowhere_in_what_is_said(run: Any, ipc: str) -> None:
    """Nor in errors of configurations: test_settings.py."""
    address = f"rtsp://admin:hunter2@127.0.0.1:{free_port()}/cam?user=admin&password=hunter2"
    for arguments in (["run", "--source", address, "--bind", ipc], ["demo", address]):
        result = run(*arguments)
        assert result.returncode == MISSING
        assert "does not answer" in result.stderr
        assert "hunter2" not in result.stdout + result.stderr
