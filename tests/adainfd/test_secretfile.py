"""Passwords in files, and on the command line, where everyone on the box could read them."""

import base64
import os
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from adainfd.base import secretfile
from adainfd.capture.source import Source
from adainfd.doctor.settings import check
from daemons import PASSWORD, Network, Program, assert_refused, camera_processes, free_port, processes
from stream_servers import Reply, WebPages

from adainf.base.errors import InvalidInputError

WILD = f"{PASSWORD}@/#?:% é"


@pytest.fixture
def camera() -> Iterator[WebPages]:
    """A picture for the user `viewer` with a password full of signs."""
    token = base64.b64encode(f"viewer:{WILD}".encode()).decode()
    body = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()

    def page(headers: Message) -> Reply:
        if headers.get("Authorization") == f"Basic {token}":
            return Reply(headers={"Content-Type": "image/jpeg"}, body=body)
        return Reply(401, {"WWW-Authenticate": 'Basic realm="camera"'})

    with WebPages(snap=page) as server:
        yield server


def secret(folder: Path, text: str = WILD) -> Path:
    file = folder / "password"
    file.write_text(f"{text}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


def seen_by_all(program: Program) -> str:
    """What the list of processes shows, and the environments, of a daemon and of all that it has started."""
    everything = (program.process.pid, *processes(program.process.pid))
    files = [Path(f"/proc/{process}/{name}") for process in everything for name in ("cmdline", "environ", "comm")]
    return "\n".join(file.read_text(errors="replace") for file in files)


def test_password_on_the_command_line_leaves_it_at_once(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    dark = f"rtsp://viewer:{PASSWORD}@127.0.0.1:{free_port()}/cam"
    file = network.configuration(tmp_path / "c.toml", bind=ipc)
    daemon = launch("run", "--config", file, "--source", dark, f"--source={clip}", "--loop")
    daemon.await_event("ready")
    told = seen_by_all(daemon)
    assert PASSWORD not in told
    assert f"--source={clip}" in told
    assert "rtsp://***@127.0.0.1" in told
    assert len(daemon.named("password_in_arguments")) == 1
    for process in (daemon.process.pid, *camera_processes(daemon.process.pid)):
        (limit,) = [line for line in Path(f"/proc/{process}/limits").read_text().splitlines() if "core" in line]
        assert limit.split()[4] == "0"


def test_relay_and_demo_hide_theirs(launch: Any, ipc: str) -> None:
    broker = f"mqtt://me:{PASSWORD}@127.0.0.1:{free_port()}"
    relay = launch("relay", "--connect", ipc, "--mqtt", broker)
    relay.await_event("broker_absent")
    assert PASSWORD not in seen_by_all(relay)
    assert len(relay.named("password_in_arguments")) == 1


def test_password_files_of_cameras(
    launch: Any, run: Any, network: Network, camera: WebPages, ipc: str, tmp_path: Path
) -> None:
    file, password = tmp_path / "c.toml", secret(tmp_path)
    address = f"http://viewer@{camera.host}/snap"
    cameras = [{"name": "door", "source": address, "password_file": str(password)}]
    network.configuration(file, bind=ipc, cameras=cameras)
    daemon = launch("run", "--config", file, "--seconds", "2")
    daemon.await_event("ready")
    assert not daemon.named("password_in_arguments")
    assert PASSWORD not in seen_by_all(daemon)
    looked = run("doctor", file)
    assert "64×48 pixels" in looked.stdout
    piped = launch("run", "--source", address, "--password-file", password, "--bind", f"{ipc}2", "--config", file)
    piped.await_event("ready")
    password.chmod(0o604)
    other = ("--bind", f"{ipc}3")  # the first daemon may still have its own
    assert_refused(run("run", "--config", file, *other), 78, "camera door: password_file", "chmod 640")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("rtsp://me@h/cam", "rtsp://me:p%40%2F@h/cam"),
        ("http://me@h", "http://me:p%40%2F@h"),
        ("rtsp://me:own@h/cam", "rtsp://me:own@h/cam"),
        ("rtsp://h/cam?a=me@h", "rtsp://h/cam?a=me@h"),
        ("me@h.mp4", "me@h.mp4"),
    ],
)
def test_a_password_is_put_behind_the_user(address: str, known: str) -> None:
    assert Source(address).with_password("p@/").address == known


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o622, 0o602, 0o666])
def test_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret(tmp_path)
    assert secretfile.password(file, "x") == WILD
    (tmp_path / "link").symlink_to(file)
    file.chmod(mode)
    for path in (file, tmp_path / "link"):
        with pytest.raises(InvalidInputError, match="chmod 640 it"):
            secretfile.password(path, "x")


def test_file_that_others_may_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open" / "inner").mkdir(parents=True)
    file = secret(tmp_path / "open" / "inner")
    link = tmp_path / "link"
    link.symlink_to(file)
    (tmp_path / "open").chmod(0o777)
    for path in (file, link):
        with pytest.raises(InvalidInputError, match="everyone on this box may replace it"):
            secretfile.password(path, "x")
    (tmp_path / "open").chmod(0o1777)  # as /tmp: others may not rename what is ours
    assert secretfile.password(file, "x") == WILD
    if os.geteuid() == 0:
        os.chown(tmp_path / "open" / "inner", 12345, 12345)
        with pytest.raises(InvalidInputError, match="everyone on this box may replace it"):
            secretfile.password(file, "x")


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"a\0b", b"x" * 5000, b"\xff\xfe\xff"])
def test_file_that_holds_no_password_is_refused(tmp_path: Path, content: bytes) -> None:
    file = secret(tmp_path)
    file.write_bytes(content)
    with pytest.raises(InvalidInputError) as refused:
        secretfile.password(file, "mqtt.password_file")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", ["rtsp://h/cam", "rtsp://me:own@h/cam", "clip.mp4"])
def test_password_of_nobody_is_refused(network: Network, run_forked: Any, tmp_path: Path, source: str) -> None:
    password = str(secret(tmp_path))
    cameras = [{"name": "door", "source": source, "password_file": password}]
    file = network.configuration(tmp_path / "c.toml", bind="ipc://s", cameras=cameras)
    with pytest.raises(InvalidInputError, match="password_file: goes with a user"):
        check(file)
    assert_refused(run_forked("run", "--source", source, "--password-file", password), 78, "as in USER@HOST")


def test_a_service_has_its_password_from_its_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys_door").write_text(PASSWORD)
    (tmp_path / "keys_door").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secretfile.password(Path("/etc/adainf/keys/door"), "x") == PASSWORD
