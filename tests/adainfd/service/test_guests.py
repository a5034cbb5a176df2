"""A running server is asked by those who may and those who may not."""

import socket
from collections.abc import Iterator

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
