"""What the doctor finds: each thing broken once, and said with what to do."""

import getpass
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemons import Network

Findings = tuple[int, dict[str, tuple[str, str]]]


def findings(result: "subprocess.CompletedProcess[str]") -> Findings:
    """The doctor's status and, by subject, the verdict with all that was said."""
    assert result.stderr == ""
    found: dict[str, tuple[str, str]] = {}
    subject = ""
    for line in result.stdout.splitlines():
        if line.startswith(" "):
            assert "→" in line
            found[subject] = (found[subject][0], found[subject][1] + line)
        else:
            verdict, subject = line[:6].strip(), line[6:22].strip()
            found[subject] = (verdict, line[22:])
    assert all("→" in said for verdict, said in found.values() if verdict != "ok"), result.stdout
    return result.returncode, found


@pytest.fixture
def examine(run_forked: Any) -> Callable[..., Findings]:
    """Run the doctor."""
    return lambda *arguments: findings(run_forked("doctor", *arguments))


def configured(network: Network, folder: Path, ipc: str, source: str, more: str = "") -> Path:
    file = network.configuration(folder / "c.toml", bind=ipc, cameras=[{"name": "door", "source": source}])
    with file.open("a", encoding="utf-8") as end:
        end.write(more)
    return file


def test_all_is_well(examine: Any, network: Network, clip: Path, ipc: str, tmp_path: Path) -> None:
    file = configured(network, tmp_path, ipc, str(clip), "[web]\nbind = '127.0.0.1:0'\n")
    status, found = examine(file)
    assert status == 0
    assert found["seen as"] == ("ok", f"user {getpass.getuser()}")
    assert {subject for subject, (verdict, _) in found.items() if verdict == "fail"} == set()
    for subject in ("OpenCV", "GPU", "configuration", "policy", "weights", "profile", "ZeroMQ", "web", "state folder"):
        assert found[subject][0] == "ok", found[subject]
    assert found["camera door"] == ("ok", "160×120 pixels, 25 a second")
    assert not Path(ipc.removeprefix("ipc://")).exists()


def test_without_configuration_only_the_box_is_looked_at(examine: Any) -> None:
    status, found = examine()
    assert status == 0
    assert "configuration" not in found
    assert "OpenCV" in found


def test_wrong_configuration(examine: Any, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[model]\npolcy = 'x'\n", encoding="utf-8")
    status, found = examine(file)
    assert status == 1
    assert found["configuration"][0] == "fail"
    assert "did you mean policy?" in found["configuration"][1]


def test_a_camera_that_ends_its_decoder_does_not_end_the_doctor(
    run: Any, network: Network, clip: Path, ipc: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A process that opens the file dies of it, as of a hole in a library."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "opened = os.open\n"
        "def deadly(path, *given, **more):\n"
        f"    if str(path) == {str(clip)!r}:\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return opened(path, *given, **more)\n"
        "os.open = deadly\n"
    )
    path = os.pathsep.join((str(tmp_path), environment.get("PYTHONPATH", "")))
    status, found = findings(run("doctor", configured(network, tmp_path, ipc, str(clip)), PYTHONPATH=path))
    assert status == 1
    assert found["camera door"][0] == "fail"
    assert "its process ended by signal 11" in found["camera door"][1]
    assert found["ZeroMQ"][0] == "ok"


def test_missing_camera_and_taken_address(examine: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as taken:
        taken.bind(ipc)
        status, found = examine(configured(network, tmp_path, ipc, str(tmp_path / "none.mp4")))
    assert status == 1
    assert found["camera door"][0] == "fail"
    assert "no such file" in found["camera door"][1]
    assert found["ZeroMQ"][0] == "warn"
    assert "in use" in found["ZeroMQ"][1]


def test_password_that_everyone_may_read(examine: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    file = configured(network, tmp_path, ipc, "rtsp://me:secret@127.0.0.1:9/x")
    status, found = examine(file)
    assert status == 1
    assert found["configuration"][0] == "warn"
    assert "chmod 640" in found["configuration"][1]
    assert "secret" not in str(found)


def test_weights_of_another_network(examine: Any, network: Network, ipc: str, clip: Path, tmp_path: Path) -> None:
    file = configured(network, tmp_path, ipc, str(clip))
    text = file.read_text(encoding="utf-8").replace(str(network.weights), str(tmp_path / "other.safetensors"))
    file.write_text(text, encoding="utf-8")
    status, found = examine(file)
    assert (status, found["weights"][0]) == (1, "fail")
    assert "other.safetensors" in found["weights"][1]


def test_missing_device_and_options_without_effect(examine: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    file = configured(network, tmp_path, ipc, "rtsp://127.0.0.1:9/x", "loop = true\nopen_seconds = 0.2\n")
    text = file.read_text(encoding="utf-8").replace("[publish]", 'device = "cuda:99"\n[publish]')
    file.write_text(text, encoding="utf-8")
    status, found = examine(file)
    assert (status, found["device"][0]) == (1, "fail")
    assert "leave `device` out" in found["device"][1]
    assert found["options"][0] == "warn"
    assert "camera door: loop has no effect" in found["options"][1]


def test_profile_of_another_model(examine: Any, network: Network, ipc: str, clip: Path, tmp_path: Path) -> None:
    file = configured(network, tmp_path, ipc, str(clip))
    text = file.read_text(encoding="utf-8").replace(str(network.profile), "efficientnet-lite0")
    file.write_text(text, encoding="utf-8")
    status, found = examine(file)
    assert (status, found["profile"][0]) == (1, "fail")
