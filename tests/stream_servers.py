"""Real servers of video streams, which a test may kill, freeze and start again."""

import contextlib
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import cv2
import pytest
from daemons import free_port, scene, write_video

_PYTHON = "/usr/bin/python3"
_SERVER = Path(__file__).with_name("rtsp_server.py")
_PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good ffmpeg"


def h264_file(folder: Path, frames: int = 50, size: tuple[int, int] = (160, 120), options: str = "") -> Path:
    """Moving pictures as the RTSP server wants them; skips the test where its Debian packages are missing."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    there = Path(_PYTHON).exists() and subprocess.run([_PYTHON, "-c", probe], capture_output=True, check=False)
    if not there or there.returncode or shutil.which("ffmpeg") is None:
        pytest.skip(f"needs a real RTSP server: apt-get install {_PACKAGES}")
    video = write_video(folder / "moving.avi", frames, size=size, moves=lambda _: True)
    made = folder / "moving.h264"
    encoding = f"-an {options} -c:v libx264 -preset ultrafast -bf 0 -g 25 -pix_fmt yuv420p"
    encoding += " -bsf:v h264_metadata=aud=insert -f h264"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-i", video, *encoding.split(), made], check=True)
    return made


@dataclass(slots=True)
class RtspServer:
    """A server in a process of its own, at a port that stays the same."""

    file: Path
    port: int
    fps: int = 25
    login: tuple[str, ...] = ()
    """`basic` or `digest`, user and password; without, everybody may look."""
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """What a camera reads from."""
        return f"rtsp://viewer:hunter2@127.0.0.1:{self.port}/cam"

    def start(self) -> None:
        """Start it; it listens when this returns."""
        command = [_PYTHON, _SERVER, self.file, str(self.port), str(self.fps), *self.login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "listening\n"

    def send_signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it with its connections open, SIGCONT lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextlib.contextmanager
def rtsp_server(file: Path, fps: int = 25, login: tuple[str, ...] = ()) -> Iterator[RtspServer]:
    """A running RTSP server."""
    server = RtspServer(file, free_port(), fps, login)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page of `WebPages` answers."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class WebPages:
    """A web server of pages that a test changes as it goes; `asked` are the requests with their headers."""

    def __init__(
        self, context: ssl.SSLContext | None = None, port: int = 0, **pages: Callable[[Message], Reply] | Reply
    ) -> None:
        """context: for https. pages: by the name of their path; a function is given the request's headers."""
        self.pages = pages
        self.asked: list[tuple[str, Message]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers))
                page = outer.pages.get(self.path.partition("?")[0].strip("/"), Reply(404))
                reply = page if isinstance(page, Reply) else page(self.headers)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(reply.body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MjpegServer:
    """Motion JPEG over HTTP, as simple cameras offer it. `close` hangs up on everybody."""

    def __init__(self, port: int = 0, part: Callable[[int], bytes] | None = None) -> None:
        """part: what is sent as the picture of this number, from 1; None, a JPEG of a moving scene."""
        sent = part or (lambda number: cv2.imencode(".jpg", scene(number, moves=True))[1].tobytes())
        self._closing = closing = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                number = 0
                with contextlib.suppress(OSError):
                    while not closing.wait(1 / 25):
                        number += 1
                        jpeg = sent(number)
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/video?user=viewer&pwd=hunter2"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        """Hang up, and listen no more."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
