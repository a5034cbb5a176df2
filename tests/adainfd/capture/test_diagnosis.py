"""Whatever stands in an address, and whatever a server answers: a fault and a line, never another exception."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from adainfd.capture.leash import leash_of
from adainfd.capture.reading.diagnosis import diagnose
from adainfd.capture.reading.request import HttpCamera, RtspCamera
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind, Source
from daemons import free_port
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError

pytestmark = pytest.mark.generated


class Babbler:
    """Says the same to everybody who connects, whatever they ask, and hangs up."""

    def __init__(self) -> None:
        self.says = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._server.accept()
            except OSError:
                return
            with connected, contextlib.suppress(OSError):
                connected.settimeout(1)
                connected.recv(4096)
                connected.sendall(self.says)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture(scope="module")
def babbler() -> Iterator[Babbler]:
    server = Babbler()
    yield server
    server.close()


locations = ["Location: http://[", "Location: file:///etc/passwd", "Location: /x", "Location: rtsp://h/"]
lengths = ["Content-Length: 9", "Content-Length: -1", "Content-Length: x", "Transfer-Encoding: chunked"]
logins = ["WWW-Authenticate: Digest", 'WWW-Authenticate: Digest realm="x", nonce=, qop', "WWW-Authenticate: Basic"]
types = ["Content-Type: image/jpeg", "Content-Type: ;;", "Content-Type: \x1b[2J", ": x", "m=video 0"]
headers = st.sampled_from([*locations, *lengths, *logins, *types])
bodies = st.binary(max_size=20) | st.sampled_from(
    [b"m=video 0 RTP/AVP 96\r\n", b"m=video\r\nm=audio", b"m=video x y 9"]
)
answers = st.binary(max_size=30) | st.builds(
    lambda protocol, status, lines, body: (
        f"{protocol} {status}\r\n".encode() + "\r\n".join([*lines, "", ""]).encode() + body
    ),
    st.sampled_from(["HTTP/1.1", "RTSP/1.0", "HTTP/9", "ICY"]),
    st.sampled_from(["200 OK", "200", "302 Found", "401 No", "404", "999 x", "0", "-1", "9" * 5000, "²"]),
    st.lists(headers, max_size=3),
    bodies,
)


@given(said=answers, scheme=st.sampled_from(["http", "rtsp"]))
@generous(60)
def test_whatever_a_server_answers(babbler: Babbler, said: bytes, scheme: str) -> None:
    babbler.says = said
    found = diagnose(
        CameraSettings("door", Source(f"{scheme}://me:secret@127.0.0.1:{babbler.port}/x")), time.monotonic() + 5
    )
    assert found is not None
    assert found.detail.isprintable()
    assert "secret" not in found.detail


def asking(source: Source) -> object:
    if (source.scheme or "").startswith("http"):
        return HttpCamera(source.address, leash_of(CameraSettings("door", source)))
    return RtspCamera(source.address)


pieces = st.sampled_from(
    ["me:secret@", "@", ":", "/", "#", "?", "%", "%2", "%00", "[", "]", "::1", " ", "\r\n", "é", "\\", "=", "."]
)


@given(text=st.lists(pieces | st.text(max_size=3), max_size=6).map("".join))
@generous(60)
def test_whatever_stands_in_an_address(text: str) -> None:
    for scheme in ("http", "https", "rtsp", "rtsps", "x"):
        for address in (f"{scheme}://127.0.0.1:{PORT}/{text}", f"{scheme}://{text}"):
            try:
                source = Source.parse(address)
            except InvalidInputError:
                continue
            assert source.kind is Kind.STREAM
            with contextlib.suppress(ValueError):
                asking(source)
            if text not in address.partition("//")[2][: len(text)]:  # no names that a resolver would be asked for
                found = diagnose(CameraSettings("door", source), time.monotonic() + 5)
                assert found is not None
                assert "secret" not in found.detail


PORT = free_port()
