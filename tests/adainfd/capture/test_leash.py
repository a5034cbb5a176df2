"""The rule about where a camera may lead us."""

import contextlib
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from adainfd.capture.leash import follow_of, followed_ports, leash_of
from adainfd.capture.reach import reach_of
from adainfd.capture.reading import request
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Source
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from stream_servers import Reply, WebPages

from adainf.base.errors import InvalidInputError


def settings(address: str, *follow: str) -> CameraSettings:
    return CameraSettings("door", Source(address), follow=follow)


@pytest.mark.parametrize(
    ("address", "follow", "host", "port", "allowed"),
    [
        ("http://cam/x", (), "cam", 80, True),
        ("http://cam/x", (), "CAM.", 80, True),
        ("http://cam/x", (), "cam", 443, True),
        ("http://cam/x", (), "cam", 22, False),
        ("http://cam:8080/x", (), "cam", 8080, True),
        ("http://cam:8080/x", (), "cam", 443, False),
        ("http://cam:8080/x", (), "cam", 80, False),
        ("https://cam/x", (), "cam", 443, True),
        ("https://cam/x", (), "cam", 80, False),
        ("http://me:p@ss@cam/x", (), "cam", 80, True),
        ("http://me:p@ss@cam/x", (), "ss", 80, False),
        ("http://cam/x@other/", (), "other", 80, False),
        ("http://cam?@other/", (), "other", 80, False),
        ("http://[::1]:81/x", (), "0:0:0:0:0:0:0:1", 81, True),
        ("http://[::1]:81/x", (), "127.0.0.1", 81, False),
        ("http://10.0.0.7/x", (), "cam", 80, False),
        ("http://cam/x", (), "cam.evil.example", 80, False),
        ("http://cam/x", (), "", 80, False),
        ("rtsp://cam/x", (), "cam", 554, True),
        ("rtsp://cam/x", (), "cam", 80, False),
        ("rtsp://cam/x", (), "cam", None, True),
        ("rtsp://cam/x", (), "other", None, False),
        ("rtsp://cam/x", ("other",), "other", None, True),
        ("rtsp://cam/x", ("other",), "other", 554, True),
        ("http://cam/x", ("cdn.example",), "cdn.example", 443, True),
        ("http://cam/x", ("cdn.example",), "cdn.example", 8080, False),
        ("http://cam/x", ("cdn.example",), "a.cdn.example", 80, False),
        ("https://cam/x", ("cdn.example",), "cdn.example", 80, False),
        ("http://cam/x", ("cdn.example:8080",), "cdn.example", 8080, True),
        ("http://cam/x", ("cdn.example:8080",), "cdn.example", 80, False),
        ("http://cam/x", ("[::1]:8080",), "::1", 8080, True),
        ("clip.mp4", (), "", 80, False),
        ("clip.mp4", (), "cam", None, False),
    ],
)
def test_what_is_allowed(address: str, follow: tuple[str, ...], host: str, port: int | None, allowed: bool) -> None:
    assert leash_of(settings(address, *follow)).allows(host, port) is allowed


@pytest.mark.parametrize(
    ("address", "follow", "needed"),
    [
        ("http://cam/x", (), set()),
        ("http://cam:81/x", ("cdn",), {80, 443}),
        ("https://cam/x", ("cdn:8443",), {8443}),
        ("rtsp://cam/x", ("other",), {554, 322}),
    ],
)
def test_ports_of_hosts_that_may_be_followed_to(address: str, follow: tuple[str, ...], needed: set[int]) -> None:
    assert followed_ports(settings(address, *follow)) == needed
    assert needed <= set(reach_of(settings(address, *follow)).connects or ())


@pytest.mark.parametrize(
    "text", ["", "http://cdn", "cdn/x", "me@cdn", "cdn:0", "cdn:65536", "cdn:x", "a b", "::1", "[::1", "x" * 254, "a\n"]
)
def test_no_hosts(text: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        follow_of(text)
    assert "HOST:PORT" in str(error.value)


pieces = st.sampled_from(
    ["http:", "https:", "//", "/", "127.0.0.1", "127.0.0.2", ":", "PORT", "1", "@", "?", "#", "\\", "[", "]", "%", "\t"]
)


@pytest.fixture(scope="module")
def server() -> Iterator[WebPages]:
    with WebPages() as started:
        yield started


@pytest.mark.generated
@given(location=st.lists(pieces | st.text(max_size=2), max_size=8).map("".join))
@generous(50)
def test_wherever_a_page_redirects_only_its_own_host_is_asked(server: WebPages, location: str) -> None:
    asked: list[tuple[str | None, int | None]] = []
    real = request._http_answer

    def watched(url: object, *more: object) -> request.HttpAnswer:
        asked.append((url.hostname, url.port))  # type: ignore[attr-defined]
        return real(url, *more)  # type: ignore[arg-type]

    told = location.replace("PORT", server.host.partition(":")[2]).encode("latin-1", "ignore").decode("latin-1")
    server.pages["x"] = Reply(302, {"Location": "".join(char for char in told if char not in "\r\n")})
    camera = settings(f"http://{server.host}/x")
    request._http_answer = watched
    try:
        with contextlib.suppress(request.RedirectError, request.LedElsewhereError, OSError):
            request.HttpCamera(camera.source.address, leash_of(camera)).get(time.monotonic() + 5, whole=False)
    finally:
        request._http_answer = real
    own = urlsplit(camera.source.address)
    assert set(asked) == {(own.hostname, own.port)}
