"""Every kind of source in a real daemon, and what becomes of one that cannot be opened."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import pytest
from daemons import PASSWORD, START_SECONDS, Network, assert_refused, listening, scene, write_video
from stream_servers import Reply, WebPages

WRONG = 78


def written(pipe: Path, content: bytes, stop: threading.Event) -> threading.Thread:
    """Write a video into a pipe again and again, as a program does that is started anew."""

    def write() -> None:
        while not stop.is_set():
            try:
                with pipe.open("wb", buffering=0) as open_pipe:
                    open_pipe.write(content)
            except BrokenPipeError:
                time.sleep(0.01)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_kinds_of_sources_beside_each_other(
    launch: Any, network: Network, clip: Path, ipc: str, tmp_path: Path
) -> None:
    shutil.copy(clip, tmp_path / "my door%d.mp4")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    stop = threading.Event()
    writer = written(pipe, write_video(tmp_path / "v.avi", 40, moves=lambda _: True).read_bytes(), stop)
    shot = cv2.imencode(".jpg", scene(1, moves=True))[1].tobytes()
    denied = Reply(401, {"WWW-Authenticate": 'Basic realm="camera"'})
    with WebPages(snap=Reply(headers={"Content-Type": "image/jpeg"}, body=shot), denied=denied) as pages:
        quick = {"retry_seconds": 0.2, "longest_retry_seconds": 0.5}
        login = f"viewer:{PASSWORD}"
        sources = {
            "url": f"FILE://{tmp_path}/my%20door%25d.mp4",
            "pipe": str(pipe),
            "snap": f" HTTP://{login}@{pages.host}/snap\n",
            "denied": f"http://{login}@{pages.host}/denied",
            "absent": f"http://{login}@{pages.host}/absent",
            "nohost": f"rtsp://{login}@nosuch.invalid/cam",
            "coded": f"rtsp://viewer:#{PASSWORD}@{pages.host}/cam",
        }
        cameras = [{"name": name, "source": source, "fps": 25, **quick} for name, source in sources.items()]
        file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        try:
            with listening(ipc) as receive:
                program = launch("run", "--config", file)
                answered, said = {"url": 0, "pipe": 0, "snap": 0}, {}
                while not ({"url", "denied", "absent", "nohost", "coded"} <= set(said) and min(answered.values()) > 20):
                    _, message = receive(START_SECONDS)
                    if message["schema"].startswith("adainf.result"):
                        answered[message["camera"]] += 1
                    elif message.get("camera") and message["state"] in ("offline", "ended"):
                        said[message["camera"]] = message
                fetched = len(pages.asked)
                program.process.send_signal(signal.SIGTERM)
                assert program.ended(START_SECONDS) == 0
        finally:
            stop.set()
            if writer.is_alive():  # it may wait for a reader
                os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
            writer.join(START_SECONDS)
    assert {name: said[name].get("code") for name in ("url", "denied", "absent", "nohost")} == {
        "url": None,
        "denied": "access_denied",
        "absent": "no_such_path",
        "nohost": "no_such_host",
    }
    assert "percent-encoded" in said["coded"]["detail"]
    assert said["url"]["state"] == "ended"
    assert said["url"]["account"]["captured"] == 50
    assert fetched < 2000
    for account in program.named("frames"):
        dropped = sum(count for name, count in account.items() if name.startswith("dropped_"))
        assert account["captured"] == account["published"] + account["reused"] + dropped
    assert "Traceback" not in program.said


@pytest.mark.parametrize(
    ("source", "named"), [("²", "source ²: no such file"), ("caf\udce9.mp4", "is not UTF-8"), ("s", "is a socket")]
)
def test_refused_by_run(run: Any, tmp_path: Path, source: str, named: str) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(tmp_path / "s"))
        assert_refused(run("run", "--source", source, "--bind", f"ipc://{tmp_path}/t"), WRONG, named)


def test_refused_by_a_configuration(run: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    file = network.configuration(tmp_path / "c.toml", bind=ipc, cameras=[{"name": "door", "source": f"x{'a' * 300}"}])
    for command in (("check-config", file), ("run", "--config", file)):
        assert_refused(run(*command), WRONG, "camera.0.source", "must not be longer")


def test_what_the_doctor_says_of_each(run: Any, network: Network, ipc: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    with WebPages(denied=Reply(403)) as pages:
        sources = {
            "sup": "²",
            "empty": "empty",
            "nothing": "nothing.mp4",
            "pipe": "pipe",
            "denied": f"http://viewer:{PASSWORD}@{pages.host}/denied",
            "absent": f"http://viewer:{PASSWORD}@{pages.host}/absent",
            "device": "/dev/door",
            "null": "/dev/null",
        }
        cameras = [{"name": name, "source": source, "open_seconds": 0.5} for name, source in sources.items()]
        result: subprocess.CompletedProcess[str] = run(
            "doctor", network.configuration(tmp_path / "c.toml", bind=ipc, cameras=cameras)
        )
    assert (result.returncode, result.stderr) == (1, "")
    found = result.stdout.split("fail")
    for name, words, remedy in (
        ("sup", "no such file", "a video that is there"),
        ("empty", "no such pictures", "a folder with pictures"),
        ("nothing", "is empty", "name a video"),
        ("pipe", "nothing is written", "start the program"),
        ("denied", "refused user or password", "percent-encode"),
        ("absent", "no such path on the camera", "manual"),
        ("device", "no such camera", "v4l2-ctl"),
        ("null", "no such camera", "v4l2-ctl"),
    ):
        (told,) = (part for part in found if f"camera {name}" in part)
        assert words in told
        assert remedy in told
    assert json.dumps(PASSWORD) not in result.stdout
