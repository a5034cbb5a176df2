"""What a stream that does not open is said to lack, by real servers."""

import base64
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from email.message import Message
from pathlib import Path
from urllib.parse import quote

import pytest
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.fault import Fault
from adainfd.capture.reading.reader import open_reader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from daemons import PASSWORD, free_port
from stream_servers import MjpegServer, Reply, WebPages, h264_file, rtsp_server

WILD = "p@ss/w#rd?:%41 ü"
"""A password of nothing but characters that must be percent-encoded, or nearly so."""


def refused(address: str, open_seconds: float = 5.0) -> SourceError:
    settings = CameraSettings("door", Source.parse(address), limits=Limits(open_seconds=open_seconds))
    with pytest.raises(SourceError) as error:
        open_reader(settings)
    said = str(error.value)
    assert len(said.splitlines()) == 1
    for secret in (PASSWORD, WILD, quote(WILD, safe=""), "w#rd"):
        assert secret not in said
    return error.value


def wants_basic(password: str) -> object:
    token = base64.b64encode(f"viewer:{password}".encode()).decode()

    def page(headers: Message) -> Reply:
        if headers.get("Authorization") == f"Basic {token}":
            return Reply(404)
        return Reply(401, {"WWW-Authenticate": 'Basic realm="camera"'})

    return page


def wants_digest(headers: Message) -> Reply:
    """Digest with a right answer for viewer:hunter2, as RFC 2617 computes it."""
    import hashlib

    def digest(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()  # noqa: S324

    told = dict(re.findall(r'(\w+)="?([^",]+)"?', headers.get("Authorization", "")))
    if told:
        secret, asked = digest(f"viewer:camera:{PASSWORD}"), digest(f"GET:{told['uri']}")
        wanted = digest(f"{secret}:7f:{told['nc']}:{told['cnonce']}:auth:{asked}")
        if told["response"] == wanted:
            return Reply(404)
    return Reply(401, {"WWW-Authenticate": 'Digest realm="camera", nonce="7f", qop="auth"'})


@pytest.fixture(scope="module")
def pages() -> Iterator[WebPages]:
    with WebPages(
        basic=wants_basic(PASSWORD),
        wild=wants_basic(WILD),
        digest=wants_digest,
        forbidden=Reply(403),
        busy=Reply(503),
        odd=Reply(499),
        page=Reply(headers={"Content-Type": "text/html; charset=utf-8"}, body=b"<html>"),
        sound=Reply(headers={"Content-Type": "audio/mpeg"}, body=b"ID3"),
        untyped=Reply(body=b"hello"),
        moved=Reply(302, {"Location": "/busy"}),
        astray=Reply(302, {"Location": "http://[nowhere"}),
    ) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "fault", "words"),
    [
        ("basic", Fault.ACCESS_DENIED, "refused user or password (401 Unauthorized); its address names none"),
        ("digest", Fault.ACCESS_DENIED, "refused user or password"),
        ("forbidden", Fault.ACCESS_DENIED, "refused user or password (403 Forbidden)"),
        ("nosuch", Fault.NO_SUCH_PATH, "no such path on the camera (404 Not Found)"),
        ("busy", Fault.CANNOT_OPEN, "the camera answers 503 Service Unavailable"),
        ("odd", Fault.CANNOT_OPEN, "the camera answers 499"),
        ("moved", Fault.CANNOT_OPEN, "the camera answers 503"),
        ("astray", Fault.CANNOT_OPEN, "redirects to what is no valid address"),
        ("page", Fault.NOT_VIDEO, "sends text/html, which is no video"),
        ("sound", Fault.CANNOT_OPEN, "sends audio/mpeg, but no video"),
        ("untyped", Fault.NOT_VIDEO, "no video"),
    ],
)
def test_what_a_web_server_says(pages: WebPages, path: str, fault: Fault, words: str) -> None:
    error = refused(f"http://{pages.host}/{path}")
    assert (error.fault, words in str(error)) == (fault, True), error


@pytest.mark.parametrize(
    ("path", "login", "fault"),
    [
        ("basic", f"viewer:{PASSWORD}", Fault.NO_SUCH_PATH),
        ("digest", f"viewer:{PASSWORD}", Fault.NO_SUCH_PATH),
        ("wild", f"viewer:{quote(WILD, safe='')}", Fault.NO_SUCH_PATH),
        ("basic", "viewer:wrong", Fault.ACCESS_DENIED),
        ("digest", "viewer:wrong", Fault.ACCESS_DENIED),
    ],
)
def test_right_users_are_told_from_wrong_ones(pages: WebPages, path: str, login: str, fault: Fault) -> None:
    before = len(pages.asked)
    assert refused(f"http://{login}@{pages.host}/{path}").fault is fault
    # A camera locks out those who fail often: FFmpeg fails once, and it is asked once.
    logins = [headers["Authorization"] for _, headers in pages.asked[before:] if headers["Authorization"]]
    assert len(logins) <= 2


@pytest.mark.parametrize(
    "address",
    [
        "http://viewer:hunter2/@{host}/basic",
        "http://viewer:12/hunter2@{host}/basic",
        "http://viewer:#hunter2@{host}/basic",
        "http://viewer:hunter2?@{host}/basic",
        "http://viewer:@hunter2@{host}/basic",
        "http://viewer:hunter2%@{host}/basic",
        "http://viewer:hun:ter2@{host}/basic",
        "rtsp://viewer:hunter2[@{host}/basic",
    ],
)
def test_password_that_must_be_percent_encoded(pages: WebPages, address: str) -> None:
    assert "percent-encoded" in str(refused(address.format(host=pages.host)))


@pytest.mark.parametrize(
    "address", ["http://{host}/a@b", "http://viewer:wrong@{host}/basic", "http://nosuch.invalid/a@b"]
)
def test_password_that_is_not_to_blame(pages: WebPages, address: str) -> None:
    assert "percent-encoded" not in str(refused(address.format(host=pages.host)))


@pytest.mark.parametrize(
    ("address", "fault", "words"),
    [
        ("http://nosuch.invalid/x", Fault.NO_SUCH_HOST, "no such host"),
        ("rtsp://nosuch.invalid/x", Fault.NO_SUCH_HOST, "no such host"),
        ("http://127.0.0.1:{port}/x", Fault.CANNOT_OPEN, "does not answer (Connection refused)"),
        ("rtsp://127.0.0.1:{port}/x", Fault.CANNOT_OPEN, "does not answer (Connection refused)"),
        ("http://" + "a" * 70 + "/", Fault.CANNOT_OPEN, "no valid address"),
        ("rstp://127.0.0.1/x", Fault.CANNOT_OPEN, "did you mean rtsp://?"),
    ],
)
def test_what_no_server_says(address: str, fault: Fault, words: str) -> None:
    error = refused(address.format(port=free_port()))
    assert (error.fault, words in str(error)) == (fault, True), error


def test_servers_that_speak_otherwise(pages: WebPages, tmp_path: Path) -> None:
    assert refused(f"https://{pages.host}/x").fault is Fault.TLS_FAILED
    error = refused(f"rtsp://{pages.host}/x")
    assert (error.fault, "as its scheme demands" in str(error)) == (Fault.CANNOT_OPEN, True)


def test_certificate_that_a_camera_signed_itself(tmp_path: Path) -> None:
    made = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=camera"
    subprocess.run(made.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with WebPages(context=context, basic=wants_basic(PASSWORD)) as pages:
        assert refused(f"https://viewer:wrong@{pages.host}/basic").fault is Fault.ACCESS_DENIED
        assert refused(f"https://viewer:{PASSWORD}@{pages.host}/basic").fault is Fault.NO_SUCH_PATH


@pytest.fixture(scope="module")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return h264_file(tmp_path_factory.mktemp("h264"))


@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_what_an_rtsp_server_says(h264: Path, scheme: str) -> None:
    with rtsp_server(h264, login=(scheme, "viewer", WILD)) as server:
        host, login = f"127.0.0.1:{server.port}", f"viewer:{quote(WILD, safe='')}"
        with closing(open_reader(CameraSettings("door", Source(f"rtsp://{login}@{host}/cam")))) as reader:
            assert reader.grab()
            assert reader.codec == "h264"
        faults = [
            refused(f"rtsp://{address}").fault
            for address in (f"{login}@{host}/nosuch", f"{login}@{host}/sound", f"viewer:no@{host}/cam", f"{host}/cam")
        ]
    assert faults == [Fault.NO_SUCH_PATH, Fault.NOT_VIDEO, Fault.ACCESS_DENIED, Fault.ACCESS_DENIED]


def rtsp_answers(stack: ExitStack, description: str) -> int:
    """The port of a server that offers this session, and nothing but it."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve() -> None:
        while True:
            try:
                connected, _ = server.accept()
            except OSError:
                return
            with connected, connected.makefile("rb") as requests:
                method, number = b"", 0
                for line in requests:
                    if line.strip():
                        method = line.split()[0] if line.split()[-1] == b"RTSP/1.0" else method
                        continue
                    number += 1
                    body = description if method == b"DESCRIBE" else ""
                    status = "200 OK" if method in (b"OPTIONS", b"DESCRIBE") else "461 Unsupported transport"
                    head = f"RTSP/1.0 {status}\r\nCSeq: {number}\r\nContent-Length: {len(body)}\r\n\r\n"
                    connected.sendall((head + body).encode())

    threading.Thread(target=serve, daemon=True).start()
    stack.callback(server.shutdown, socket.SHUT_RDWR)
    return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("media", "fault", "words"),
    [
        ("video 0 RTP/AVP 96\r\na=rtpmap:96 H266/90000", Fault.UNKNOWN_CODEC, "its codec H266 cannot be decoded"),
        ("video 0 RTP/AVP 77", Fault.UNKNOWN_CODEC, "payload type 77"),
        ("audio 0 RTP/AVP 0", Fault.NOT_VIDEO, "holds no video"),
        ("video 0 RTP/AVP 96\r\na=rtpmap:96 h264/90000", Fault.CANNOT_OPEN, "offers H264, but sends no picture"),
        ("video 0 RTP/AVP 26", Fault.CANNOT_OPEN, "offers JPEG"),
    ],
)
def test_codecs_of_rtsp(media: str, fault: Fault, words: str) -> None:
    with ExitStack() as stack:
        port = rtsp_answers(stack, f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm={media}\r\n")
        error = refused(f"rtsp://127.0.0.1:{port}/cam")
    assert (error.fault, words in str(error)) == (fault, True), error


def test_server_that_never_answers_keeps_nobody_longer_than_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "rtsp"):
            begun = time.monotonic()
            assert refused(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", 0.5).fault is Fault.OPEN_TIMEOUT
            assert time.monotonic() - begun < 1.5


def test_motion_jpeg_is_no_single_picture() -> None:
    server = MjpegServer()
    try:
        with closing(open_reader(CameraSettings("door", Source(server.address)))) as reader:
            assert all(reader.grab() for _ in range(5))
            server.close()
            with pytest.raises(SourceError) as lost:
                [reader.grab() for _ in range(50)]
        assert lost.value.fault is Fault.STREAM_LOST
    finally:
        server.close()
