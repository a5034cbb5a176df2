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
from adainfd.service.answer import Answer
from adainfd.service.web import WebServer


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    served = WebServer("127.0.0.1", 0, dict.fromkeys(("/", "/picture/door", "/live", "/metrics"), lambda: Answer(b"x")))
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
    assert [status(server, f"GET {path} HTTP/1.0") for path in ("/live", "/metrics", "/", "/picture/door")] == [
        200,
        200,
        421,
        421,
    ]
    assert status(server, "GET / HTTP/1.1", "Host: localhost", "Host: evil.example") == 400


@pytest.mark.parametrize(
    "field", ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: null", "Origin: http://evil.example"]
)
def test_other_sites_get_no_picture(server: WebServer, field: str) -> None:
    assert status(server, "GET /picture/door HTTP/1.1", "Host: localhost", field) == 403


def test_every_answer_keeps_a_browser_from_lending_it_to_other_sites(server: WebServer) -> None:
    for path, field in (("/", "X: y"), ("/picture/door", "Origin: null"), ("/nowhere", "X: y"), ("/live", "X: y")):
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n".encode())
            said = client.recv(4096).decode().splitlines()
        assert "Cross-Origin-Resource-Policy: same-origin" in said
        assert "X-Frame-Options: DENY" in said
        assert "X-Content-Type-Options: nosniff" in said
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

    def picture() -> Answer:
        asked.append("picture")
        return Answer(jpeg, "image/jpeg")

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
