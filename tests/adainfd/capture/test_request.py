"""Servers that answer otherwise than they should, and servers that never end their answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.exchange.attempts import Attempts
from adainfd.capture.fault import Fault
from adainfd.capture.reading.diagnosis import Diagnosis, diagnose
from adainfd.capture.reading.snapshot import SnapshotReader
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source, SourceError
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

Answers = Callable[[], Iterator[bytes]]


class Hostile:
    """A server that answers each connection with the same chunks, whatever it is asked, and then hangs up."""

    def __init__(self) -> None:
        self.answers: Answers = lambda: iter(())
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.recv(1 << 16)
            for chunk in self.answers():
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)
            client.recv(1 << 16)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    opened = Hostile()
    yield opened
    opened.close()


def snapshot(server: Hostile, seconds: float = 2.0) -> SnapshotReader:
    settings = CameraSettings(
        "door", Source(f"http://viewer:hunter2@{server.host}/snap"), fps=1000, limits=Limits(stall_seconds=seconds / 2)
    )
    return SnapshotReader(settings, Attempts())


def trickling(beginning: bytes, repeated: bytes, seconds: float = 0.02) -> Answers:
    def answers() -> Iterator[bytes]:
        yield beginning
        while True:
            yield repeated
            time.sleep(seconds)

    return answers


@pytest.mark.parametrize(
    ("beginning", "repeated"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"y"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
)
def test_an_answer_that_trickles_in_for_ever_ends_at_the_cameras_limit(
    server: Hostile, beginning: bytes, repeated: bytes
) -> None:
    server.answers = trickling(beginning, repeated)
    begun = time.monotonic()
    with pytest.raises(SourceError) as lost:
        snapshot(server, 0.4).grab()
    assert time.monotonic() - begun < 2
    assert lost.value.fault is Fault.READ_TIMEOUT


def test_a_description_that_trickles_in_for_ever_ends_too(server: Hostile) -> None:
    for beginning in (b"", b"RTSP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"RTSP/1.0 200 OK\r\nX: "):
        server.answers = trickling(beginning, b"x")
        begun = time.monotonic()
        found = diagnose(CameraSettings("door", Source(f"rtsp://{server.host}/cam")), begun + 0.4)
        assert time.monotonic() - begun < 2
        assert found is not None
        assert found.fault is Fault.OPEN_TIMEOUT


@pytest.mark.parametrize(
    "location", ["http://" + "a" * 70 + "/", "http://a..b/", "http://\x80.example/", "http://[::1", "http://x:99999/"]
)
def test_a_redirect_to_a_host_that_cannot_be_asked_for_is_a_failure_of_the_camera(
    server: Hostile, location: str
) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    server.answers = lambda: iter([answer])
    with pytest.raises(SourceError) as lost:
        snapshot(server).grab()
    assert "\n" not in str(lost.value)
    assert "hunter2" not in str(lost.value)


_NAMES = st.sampled_from(
    [
        "Content-Length",
        "Transfer-Encoding",
        "Content-Type",
        "ETag",
        "WWW-Authenticate",
        "Connection",
        "X",
        "Last-Modified",
    ]
)
_VALUES = st.one_of(
    st.sampled_from(
        ["-1", "0", "9" * 5000, "chunked", "image/jpeg", "Digest realm=", 'Digest nonce="', "Basic", "close"]
    ),
    st.text(st.characters(max_codepoint=255), max_size=40),
)
_STATUS = st.sampled_from(
    [b"200 OK", b"401 No", b"304", b"999", b"", b"1e3 x", b"100 Continue", b"204 x", b"\xff", b"0200 OK"]
)
_HEADS = st.builds(
    lambda protocol, status, fields: (
        b"%b %b\r\n%b\r\n"
        % (protocol, status, b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in fields))
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9", b"RTSP/1.0", b"ICY", b""]),
    _STATUS,
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
)
_BODIES = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [b"5\r\nhello\r\n0\r\n\r\n", b"fffffffff\r\n", b"-1\r\n", b"\xff\xd8\xff" * 9, b"m=video 0 RTP/AVP 9999\r\n"]
    ),
)


@pytest.mark.generated
@generous(200)
@given(answer=st.one_of(st.builds(bytes.__add__, _HEADS, _BODIES), st.binary(max_size=120)))
def test_whatever_a_server_answers_is_a_picture_a_diagnosis_or_a_failure_in_one_line(
    server: Hostile, answer: bytes
) -> None:
    server.answers = lambda: iter([answer])
    reader = snapshot(server)
    said = ""
    try:
        assert reader.grab()
        picture = reader.retrieve()
        assert picture is None or picture.ndim == 3
    except SourceError as lost:
        said = str(lost)
    assert said.isprintable()
    assert "hunter2" not in said
    for scheme in ("http", "rtsp"):
        settings = CameraSettings("door", Source(f"{scheme}://viewer:hunter2@{server.host}/x"))
        found = diagnose(settings, time.monotonic() + 2)
        assert isinstance(found, Diagnosis)
        assert found.detail.isprintable()
