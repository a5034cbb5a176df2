"""Clients that are slow, and clients that send anything at all, over real connections."""

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from adainfd.service.web.refusals import Refusals
from adainfd.service.web.response import Response
from adainfd.service.web.server import WebServer
from daemons import await_true
from raw_http import answered

SECONDS = 1.0
LARGE = 1 << 24  # more than the buffers between two ends hold
LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def refusals() -> Refusals:
    return Refusals()


@contextlib.contextmanager
def serving(refusals: Refusals, seconds: float) -> Iterator[WebServer]:
    routes = {path: lambda: Response(b"x") for path in ("/", "/live", "/state")}
    large = Response(bytes(LARGE))
    routes["/large"] = lambda: large
    served = WebServer("127.0.0.1", 0, routes, refusals=refusals, seconds=seconds)
    served.start()
    yield served
    assert served.thread.hindrance is None
    served.close()


@pytest.fixture(scope="module")
def server(refusals: Refusals) -> Iterator[WebServer]:
    with serving(refusals, SECONDS) as served:
        yield served


@pytest.fixture(scope="module")
def patient_server() -> Iterator[WebServer]:
    with serving(Refusals(), 60.0) as served:
        yield served


def connected(server: WebServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=10)


def asked(server: WebServer, request: bytes) -> bytes:
    with connected(server) as client:
        client.sendall(request)
        return answered(client)


def is_live(server: WebServer) -> bool:
    return asked(server, LIVE).startswith(b"HTTP/1.0 200")


def test_whoever_sends_byte_by_byte_is_told_off_in_time(server: WebServer, refusals: Refusals) -> None:
    before = refusals.counts["slow"]
    slow = [connected(server) for _ in range(40)]  # more than there are places
    begun = time.monotonic()
    for client in slow:
        client.settimeout(0.01)
    heard: dict[socket.socket, bytes] = dict.fromkeys(slow, b"")
    waiting = set(slow)
    while waiting:
        assert is_live(server)
        for client in list(waiting):
            try:
                client.sendall(b"G")
                heard[client] += (part := client.recv(1000))
            except TimeoutError:
                continue
            except OSError:
                part = b""
            if not part:
                waiting.discard(client)
        assert time.monotonic() < begun + 10 * SECONDS
    for client in slow:
        client.close()
    assert any(said.startswith(b"HTTP/1.0 408") for said in heard.values())
    assert refusals.counts["slow"] > before


def test_whoever_reads_nothing_is_hung_up_on_in_time(server: WebServer, refusals: Refusals) -> None:
    before = refusals.counts["slow"]
    with contextlib.ExitStack() as clients:
        slow = [clients.enter_context(connected(server)) for _ in range(5)]
        for client in slow:
            client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begun = time.monotonic()
        while refusals.counts["slow"] < before + len(slow):
            assert is_live(server)
            assert time.monotonic() < begun + 10 * SECONDS
        assert 0 < len(answered(slow[0])) < LARGE


def test_whoever_says_nothing_is_no_news(server: WebServer, refusals: Refusals) -> None:
    """Browsers open connections for later, and may never use them."""
    before = refusals.counts
    with connected(server) as client:
        assert answered(client) == b""
    assert refusals.counts == before


def test_the_one_with_the_most_connections_makes_room(server: WebServer, refusals: Refusals) -> None:
    before = refusals.counts["crowded"]
    many = [connected(server) for _ in range(31)]
    with socket.create_connection(server.address, timeout=10, source_address=("127.0.0.2", 0)) as other:
        many += [connected(server) for _ in range(10)]
        await_true(lambda: refusals.counts["crowded"] - before == 10, 5, "10 made room")
        other.sendall(LIVE)
        assert answered(other).startswith(b"HTTP/1.0 200")
    for client in many:
        client.close()


def test_where_no_descriptor_is_left_an_idle_connection_gives_its_own(patient_server: WebServer) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        idle = held.enter_context(connected(patient_server))
        assert is_live(patient_server)
        most = max(int(file.name) for file in Path("/proc/self/fd").iterdir()) + 8
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        spare = socket.socket()
        with contextlib.suppress(OSError):
            while True:
                held.callback(os.close, os.dup(0))
        spare.close()  # for the client's end; the server has none
        begun = time.monotonic()
        assert is_live(patient_server)
        assert time.monotonic() < begun + 2
        assert idle.recv(1) == b""


def test_a_defect_is_answered_and_logged_once_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Response:
        raise OSError("a defect")  # of the kind that means elsewhere that the client has left

    async def broken_later() -> Response:
        raise TimeoutError("another")

    with structlog.testing.capture_logs() as lines:
        refusals = Refusals(structlog.get_logger())
        routes = {"/live": lambda: Response(b"yes"), "/broken": broken, "/later": broken_later}
        served = WebServer("127.0.0.1", 0, routes, refusals=refusals)
        served.start()
        for path in (b"/broken", b"/broken", b"/later"):
            said = asked(served, b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
            assert said.startswith(b"HTTP/1.0 500")
            assert b"defect" not in said
        monkeypatch.setattr(
            "adainfd.service.web.request.HttpRequest.parse", lambda head: head.decode("ascii").index("\0")
        )
        assert asked(served, LIVE) == b""  # a defect outside of what makes responses
        monkeypatch.undo()
        assert is_live(served)
        assert served.thread.hindrance is None
        served.close()
    assert refusals.counts["failed"] == 4
    failures = [line for line in lines if line["event"] == "web_failed"]
    assert [line["why"].splitlines()[-1] for line in failures] == [
        "OSError: a defect",
        "TimeoutError: another",
        "ValueError: substring not found",
    ]
    assert all("Traceback" in line["why"] and "test_connection.py" in line["why"] for line in failures)


def test_whoever_asks_for_what_takes_time_keeps_neither_health_checks_nor_the_processor() -> None:
    """A flood of requests that cost 50 ms each: they get their share, and whoever asks for /live waits for none."""

    def costly() -> Response:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return Response(b"x")

    served = WebServer("127.0.0.1", 0, {"/metrics": costly, "/live": lambda: Response(b"x")})
    others = set(threading.enumerate())
    served.start()
    [web] = set(threading.enumerate()) - others
    assert web.ident is not None
    clock = time.pthread_getcpuclockid(web.ident)
    over = threading.Event()
    answers: list[bytes] = []

    def flood() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                answers.append(asked(served, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"))

    crowd = [threading.Thread(target=flood) for _ in range(25)]
    for one in crowd:
        one.start()
    begun, used = time.monotonic(), time.clock_gettime(clock)
    try:
        while time.monotonic() < begun + 4:
            with connected(served) as client:
                client.settimeout(4)  # behind the others it would take ten times as long
                client.sendall(LIVE)
                assert answered(client).startswith(b"HTTP/1.0 200")
            time.sleep(0.2)
        share = (time.clock_gettime(clock) - used) / (time.monotonic() - begun)
    finally:
        over.set()
        served.close()
        for one in crowd:
            one.join()
    assert share < 0.2  # a tenth, and what may be used at once
    assert sum(answer.startswith(b"HTTP/1.0 200") for answer in answers) > 1
