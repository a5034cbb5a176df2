"""Cameras that lead elsewhere: nobody there is ever asked, whatever they answer and whenever."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import playlists
import pytest
from adainfd.capture.cameras.camera import Camera
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import scene, write_video
from playlists import Elsewhere
from stream_servers import MjpegServer, Reply, WebPages

QUICK = Limits(open_seconds=3.0, stall_seconds=2.0)
QUERY = "token=s3cret"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as service:
        yield service


@pytest.fixture
def pages() -> Iterator[WebPages]:
    with WebPages() as server:
        yield server


def settings(address: str, *follow: str) -> CameraSettings:
    return CameraSettings("door", Source(address), limits=QUICK, follow=follow)


def watch(camera: CameraSettings) -> None:
    with contextlib.closing(open_reader(camera)) as reader:
        for _ in range(500):
            reader.grab()


def refused(address: str) -> SourceError:
    with pytest.raises(SourceError) as error:
        watch(settings(address))
    assert len(str(error.value).splitlines()) == 1
    assert QUERY not in str(error.value)
    return error.value


def playlist(*lines: str) -> Reply:
    text = "\n".join(["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:1", *lines, "#EXT-X-ENDLIST", ""])
    return Reply(headers={"Content-Type": "application/vnd.apple.mpegurl"}, body=text.encode())


# X is the address that may not be asked.
PLAYLISTS = {
    "segment": ("#EXTINF:1,", "X/a.ts"),
    "segment without a scheme": ("#EXTINF:1,", "//127.0.0.1:PORT/a.ts"),
    "second segment": ("#EXTINF:1,", "/clip.ts", "#EXTINF:1,", "X/a.ts"),
    "redirected segment": ("#EXTINF:1,", "/moved.ts"),
    "nested": ("#EXT-X-STREAM-INF:BANDWIDTH=1", "X/b.m3u8"),
    "sound": (
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,AUTOSELECT=YES,URI="X/s.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"',
        "/one.m3u8",
    ),
    "key": ('#EXT-X-KEY:METHOD=AES-128,URI="X/k",IV=0x00000000000000000000000000000001', "#EXTINF:1,", "/clip.ts"),
    "map": ('#EXT-X-MAP:URI="X/i.mp4"', "#EXTINF:1,", "/a.m4s"),
    "another spelling": ("#EXTINF:1,", "http://2130706433:PORT/a.ts"),
    "a name of the same": ("#EXTINF:1,", "http://localhost:PORT/a.ts"),
    "a user before it": ("#EXTINF:1,", "http://127.0.0.1:1@127.0.0.1:PORT/a.ts"),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("clip")
    video = write_video(folder / "clip.avi", 25, moves=lambda _: True)
    made = folder / "clip.ts"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", video, "-c:v", "mpeg4", made], check=True)
    return made.read_bytes()


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_leads_nowhere_else(pages: WebPages, elsewhere: Elsewhere, clip: bytes, name: str) -> None:
    there = f"http://127.0.0.1:{elsewhere.port}"
    lines = [line.replace("X/", f"{there}/") for line in PLAYLISTS[name]]
    pages.pages |= {
        "list.m3u8": playlist(*(line.replace("PORT", str(elsewhere.port)) for line in lines)),
        "one.m3u8": playlist("#EXTINF:1,", "/clip.ts"),
        "clip.ts": Reply(headers={"Content-Type": "video/mp2t"}, body=clip),
        "moved.ts": Reply(302, {"Location": f"{there}/a.ts?{QUERY}"}),
    }
    error = refused(f"http://{pages.host}/list.m3u8?{QUERY}")
    assert not elsewhere.asked
    assert error.fault is Fault.LED_ELSEWHERE, error
    assert str(elsewhere.port) in str(error)
    assert "follow = [" in str(error)


def test_a_playlist_of_the_same_host_is_played(pages: WebPages, clip: bytes) -> None:
    pages.pages |= {"list.m3u8": playlist("#EXTINF:1,", "/moved.ts"), "moved.ts": Reply(302, {"Location": "/clip.ts"})}
    pages.pages["clip.ts"] = Reply(headers={"Content-Type": "video/mp2t"}, body=clip)
    with contextlib.closing(open_reader(settings(f"http://{pages.host}/list.m3u8"))) as reader:
        assert reader.grab()
        assert reader.retrieve() is not None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere_else_unless_allowed(pages: WebPages, elsewhere: Elsewhere, status: int) -> None:
    pages.pages["moved"] = Reply(status, {"Location": f"http://127.0.0.1:{elsewhere.port}/x?{QUERY}"})
    error = refused(f"http://viewer:hunter2@{pages.host}/moved")
    assert (error.fault, elsewhere.asked) == (Fault.LED_ELSEWHERE, False)
    assert "hunter2" not in str(error)
    # The same stands where it is allowed, by name or port.
    camera = MjpegServer()
    try:
        pages.pages["moved"] = Reply(status, {"Location": camera.address})
        allowed = settings(f"http://{pages.host}/moved", f"127.0.0.1:{camera.port}")
        with contextlib.closing(open_reader(allowed)) as reader:
            assert reader.grab()
        pages.pages["moved"] = Reply(status, {"Location": camera.address.replace("127.0.0.1", "localhost")})
        allowed = settings(f"http://{pages.host}/moved", f"LOCALHOST.:{camera.port}")
        with contextlib.closing(open_reader(allowed)) as reader:
            assert reader.grab()
    finally:
        camera.close()


def test_a_camera_known_by_its_name_may_give_its_address() -> None:
    camera = MjpegServer()
    camera.close()
    jpeg = cv2.imencode(".jpg", scene(1, moves=True))[1].tobytes()
    with WebPages(snap=Reply(headers={"Content-Type": "image/jpeg"}, body=jpeg)) as pages:
        pages.pages["moved"] = Reply(302, {"Location": f"http://{pages.host}/snap"})
        address = f"http://localhost:{pages.host.partition(':')[2]}/moved"
        with contextlib.closing(open_reader(settings(address))) as reader:
            assert reader.grab()


def test_https_is_never_left_for_http(tmp_path: Path, elsewhere: Elsewhere) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with WebPages(context, moved=Reply(302, {"Location": f"http://127.0.0.1:{elsewhere.port}/x"})) as pages:
        error = refused(f"https://{pages.host}/moved")
    assert (error.fault, elsewhere.asked) == (Fault.LED_ELSEWHERE, False)


class Rtsp:
    """An RTSP server that says the same to each request of a method; `{seq}` becomes the request's number."""

    def __init__(self, **answers: str) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connected, _ = self._server.accept()
                with connected, contextlib.suppress(OSError), connected.makefile("rb") as lines:
                    connected.settimeout(3)
                    while request := list(iter(lambda: lines.readline().decode().strip(), "")):
                        number = next(line.split(":")[1] for line in request if line.lower().startswith("cseq"))
                        said = self._answers.get(request[0].split()[0], "RTSP/1.0 200 OK\nCSeq: {seq}\n\n")
                        connected.sendall(said.replace("{seq}", number).replace("\n", "\r\n").encode())

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


def described(text: str) -> str:
    length = len(text.replace("\n", "\r\n"))
    head = "RTSP/1.0 200 OK\nCSeq: {seq}\nContent-Type: application/sdp\n"
    return f"{head}Content-Length: {length}\n\n{text}"


VIDEO = "v=0\ns=x\nt=0 0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:track1\n"
TRANSPORT = "RTSP/1.0 200 OK\nCSeq: {seq}\nSession: 1\nTransport: RTP/AVP;unicast;client_port=5000-5001;"


@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
@pytest.mark.parametrize("location", ["rtsp://127.0.0.1:PORT/x", "rtsps://127.0.0.1:PORT/x", "rtsp://localhost:PORT/"])
def test_an_rtsp_redirect_leads_nowhere_else(elsewhere: Elsewhere, method: str, location: str) -> None:
    there = location.replace("PORT", str(elsewhere.port))
    moved = f"RTSP/1.0 302 Moved\nCSeq: {{seq}}\nLocation: {there}?{QUERY}\n\n"
    setup = "RTSP/1.0 200 OK\nCSeq: {seq}\nSession: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\n\n"
    answers = {"DESCRIBE": described(VIDEO), "SETUP": setup, method: moved}
    with contextlib.closing(Rtsp(**answers)) as server:
        error = refused(f"rtsp://viewer:hunter2@127.0.0.1:{server.port}/cam")
    assert not elsewhere.asked
    if method in ("OPTIONS", "DESCRIBE"):  # FFmpeg follows these alone
        assert error.fault is Fault.LED_ELSEWHERE, error


def test_rtsp_over_udp_sends_nothing_elsewhere(elsewhere: Elsewhere) -> None:
    setup = f"{TRANSPORT}source=127.0.0.2;server_port={elsewhere.port}-{elsewhere.port}\n\n"
    with contextlib.closing(Rtsp(DESCRIBE=described(VIDEO), SETUP=setup)) as server:
        camera = CameraSettings("door", Source(f"rtsp://127.0.0.1:{server.port}/cam"), transport="udp", limits=QUICK)
        with pytest.raises(SourceError) as error:
            open_reader(camera)
    assert not elsewhere.asked
    assert error.value.fault is Fault.LED_ELSEWHERE


@pytest.mark.parametrize("kind", playlists.LOCAL)
@pytest.mark.parametrize("target", ["http", "file"])
def test_a_local_playlist_is_no_video(tmp_path: Path, elsewhere: Elsewhere, kind: str, target: str) -> None:
    other = write_video(tmp_path / "other.avi", 5, moves=lambda _: True)
    address = f"http://127.0.0.1:{elsewhere.port}/x.ts" if target == "http" else "other.avi"
    text = playlists.of(kind, address, elsewhere.port)
    assert other.exists()
    for name in ("film.mp4", "film.m3u8", "film.ffconcat", "film.sdp", "film.mpd"):
        film = tmp_path / name
        film.write_text(text)
        refused(str(film))
        film.unlink()
    assert not elsewhere.asked


@pytest.mark.parametrize("kind", ["HLS", "concat"])
def test_a_playlist_in_a_pipe_is_no_video(tmp_path: Path, elsewhere: Elsewhere, kind: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = playlists.of(kind, f"http://127.0.0.1:{elsewhere.port}/x.ts")
    writer = threading.Thread(target=lambda: pipe.write_text(text * 200))
    writer.start()
    refused(str(pipe))
    writer.join()
    assert not elsewhere.asked


def test_the_owners_options_do_not_open_playlists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "other.avi", 5, moves=lambda _: True)
    film = tmp_path / "film.mp4"
    film.write_text(playlists.of("concat", "other.avi"))
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "format_whitelist;concat,avi|protocol_whitelist;file")
    refused(str(film))


def test_a_camera_that_leads_elsewhere_when_it_is_opened_anew(elsewhere: Elsewhere) -> None:
    """In a process of its own, as the daemon runs it; the first request was answered honestly."""
    camera = MjpegServer()
    port = camera.port
    door = Camera(CameraSettings("door", Source(camera.address), limits=Limits(stall_seconds=2.0, retry_seconds=0.05)))
    door.start()
    try:
        hear(door, lambda: door.opened)
        camera.close()
        with web_pages_at(port, Reply(302, {"Location": f"http://127.0.0.1:{elsewhere.port}/x"})):
            door.play()
            hear(door, lambda: door.lifecycle.last.fault is Fault.LED_ELSEWHERE)
    finally:
        door.close()
    assert not elsewhere.asked


def hear(camera: Camera, until: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, camera.failure
        if camera.connection is not None and wait([camera.connection], 0.05):
            camera.receive()
        camera.supervise(time.monotonic())


@contextlib.contextmanager
def web_pages_at(port: int, reply: Reply) -> Iterator[WebPages]:
    with WebPages(None, port, video=reply) as server:
        yield server
