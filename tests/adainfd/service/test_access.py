"""A running server is asked by those who may and those who may not."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from adainfd.service.web.access import Access
from adainfd.service.web.response import Response
from adainfd.service.web.server import WebServer


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    routes = dict.fromkeys(("/", "/picture/door", "/live", "/metrics"), lambda: Response(b"x"))
    served = WebServer("127.0.0.1", 0, {**routes, "/defect": lambda: Response(bytes(1 // 0))})
    served.start()
    yield served
    served.close()


def status(server: WebServer, line: str, *fields: str) -> int:
    with socket.create_connection(server.address, timeout=10) as client:
        client.sendall("\r\n".join((line, *fields, "", "")).encode())
        return int(client.recv(4096).split()[1])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.:80", "127.0.0.1:9600", "127.0.0.1.", "[::1]:1", "127.8.8.8"])
def test_own_names_are_answered(server: WebServer, host: str) -> None:
    assert status(server, "GET /picture/door HTTP/1.1", f"Host: {host}") == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil", "u@localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1%25lo]", "", "10.0.0.1"],  # noqa: S104
)
def test_other_names_are_refused(server: WebServer, host: str) -> None:
    for path in ("/", "/picture/door", "/metrics"):
        assert status(server, f"GET {path} HTTP/1.1", f"Host: {host}") == 421
    assert status(server, f"GET http://{host}/ HTTP/1.1", "Host: localhost") in (404, 421)
    assert status(server, "GET /live HTTP/1.1", f"Host: {host}") == 200


def test_a_request_without_a_host_reaches_no_picture(server: WebServer) -> None:
    for version in ("HTTP/1.0", "HTTP/1.1"):
        paths = {"/live": 200, "/metrics": 200, "/": 400, "/picture/door": 400}
        assert {path: status(server, f"GET {path} {version}") for path in paths} == paths


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ("GET / HTTP/1.1", ["Host: localhost", "Host: localhost"], 400),
        ("GET / HTTP/1.1", ["Host: localhost", "host : evil.example"], 400),
        ("GET / HTTP/1.1", ["Host: localhost", " evil.example"], 400),
        ("GET / HTTP/1.1", ["Host: localhost, evil.example"], 421),
        ("GET / HTTP/1.1", ["Host: localhost evil.example"], 421),
        ("GET / HTTP/1.1", ["Host: evil.example", "X-Forwarded-Host: localhost", "Forwarded: host=localhost"], 421),
        ("GET http://localhost/ HTTP/1.1", ["Host: localhost"], 200),
        ("GET HTTP://LOCALHOST:9600 HTTP/1.1", ["Host: [::1]"], 200),
        ("GET http://localhost/ HTTP/1.1", ["Host: evil.example"], 421),
        ("GET http://evil.example/ HTTP/1.1", ["Host: localhost"], 421),
        ("GET http://localhost@evil.example/ HTTP/1.1", ["Host: localhost"], 421),
        ("GET http://user@localhost/ HTTP/1.1", ["Host: localhost"], 421),
        ("GET http:///picture/door HTTP/1.1", ["Host: localhost"], 421),
        ("GET ftp://localhost/ HTTP/1.1", ["Host: localhost"], 404),
        ("GET //localhost/picture/door HTTP/1.1", ["Host: localhost"], 404),
        ("HEAD /picture/door HTTP/1.1", ["Host: evil.example"], 421),
        ("OPTIONS /picture/door HTTP/1.1", ["Host: localhost", "Origin: http://evil.example"], 403),
        ("OPTIONS * HTTP/1.1", ["Host: localhost"], 405),
        ("POST / HTTP/1.1", ["Host: localhost", "Content-Length: 3"], 405),
        ("TRACE / HTTP/1.1", ["Host: localhost"], 405),
        ("CONNECT localhost:80 HTTP/1.1", ["Host: localhost"], 405),
    ],
)
def test_each_spelling_of_a_host_is_read_in_one_way(
    server: WebServer, line: str, fields: list[str], expected: int
) -> None:
    assert status(server, line, *fields) == expected


def test_the_address_that_stands_for_all_names_no_box() -> None:
    """Bound beyond loopback: the box is asked for by its name, by any of its addresses, or by names that are given."""
    routes = {"/": lambda: Response(b"x")}
    served = WebServer("0.0.0.0", 0, routes, Access("0.0.0.0", ["cameras.example.com", "10.9.9.9"]))  # noqa: S104
    served.start()
    try:
        own = socket.gethostname().lower()
        hosts = {"127.0.0.1": 200, "localhost": 200, own: 200, f"{own}.local:9600": 200, "Cameras.Example.com.": 200}
        hosts |= {"10.9.9.9:1": 200, "0.0.0.0": 421, "[::]": 421, "10.9.9.8": 421, "example.com": 421}  # noqa: S104
        assert {host: status(served, "GET / HTTP/1.1", f"Host: {host}") for host in hosts} == hosts
    finally:
        served.close()


@pytest.mark.parametrize(
    "field", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: null", "Origin: http://evil.example"]
)
def test_other_sites_get_no_picture(server: WebServer, field: str) -> None:
    for line in ("GET /picture/door", "HEAD /picture/door", "GET /state", "GET /metrics", "GET /", "GET /page.js"):
        assert status(server, f"{line} HTTP/1.1", "Host: localhost", field) == 403


def test_every_answer_keeps_a_browser_from_lending_it_to_other_sites(server: WebServer) -> None:
    requests = {
        "GET / HTTP/1.1": 200,
        "HEAD / HTTP/1.1": 200,
        "GET /live HTTP/1.1": 200,
        "GET /%ff HTTP/1.1": 400,
        "GET / HTTP/1.1\r\nOrigin: null": 403,
        "GET /nowhere HTTP/1.1": 404,
        "POST / HTTP/1.1": 405,
        "GET http://evil.example/ HTTP/1.1": 421,
        f"GET / HTTP/1.1\r\nX: {'x' * 20_000}": 431,
        "GET /defect HTTP/1.1": 500,
        "HEAD /defect HTTP/1.1": 500,
    }
    for request, expected in requests.items():
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(f"{request}\r\nHost: localhost\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            head, _, body = b"".join(iter(lambda: client.recv(4096), b"")).decode().partition("\r\n\r\n")
        said = head.splitlines()
        assert int(said[0].split()[1]) == expected
        assert bool(body) != request.startswith("HEAD")
        assert "Cross-Origin-Resource-Policy: same-origin" in said
        assert "X-Frame-Options: DENY" in said
        assert "X-Content-Type-Options: nosniff" in said
        assert ("Allow: GET, HEAD" in said) == (expected == 405)
        assert not any(line.startswith("Access-Control-Allow") for line in said)


def own_address() -> str | None:
    """An address of this box that others can reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_browser_shows_no_picture_to_another_site_where_it_tells_nothing_of_it(tmp_path: Path) -> None:
    """Beyond loopback and without TLS browsers send no Sec-Fetch fields, and for pictures no Origin."""
    address = own_address()
    if address is None:
        pytest.skip("needs an address beyond loopback")
    asked: list[str] = []
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()

    def picture() -> Response:
        asked.append("picture")
        return Response(jpeg, "image/jpeg")

    served = WebServer(address, 0, {"/picture/door": picture})
    served.start()
    url = "http://{}:{}/picture/door".format(*served.address)
    evil = tmp_path / "evil.html"
    evil.write_text(f"""<p>waiting</p><script>
        const said = document.querySelector("p"), image = new Image();
        image.onload = () => said.textContent = "seen";
        image.onerror = () => said.textContent = "blocked";
        image.src = "{url}";
        </script>""")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command += ["--virtual-time-budget=3000", "--dump-dom", evil.as_uri()]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    finally:
        served.close()
    assert asked == ["picture"]
    assert re.findall("<p>(.*?)</p>", shown) == ["blocked"]
