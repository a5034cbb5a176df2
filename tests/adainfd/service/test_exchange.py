"""Clients that are slow, and clients that send anything at all, over real connections."""

import contextlib
import os
import re
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from adainfd.service.answer import Answer
from adainfd.service.guests import Guests
from adainfd.service.refusals import Refusals
from adainfd.service.request import BadRequestError, Request
from adainfd.service.web import WebServer
from daemons import await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

SECONDS = 1.0
LARGE = 1 << 24  # more than the buffers between two ends hold
LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def refusals() -> Refusals:
    return Refusals()


@contextlib.contextmanager
def serving(refusals: Refusals, seconds: float) -> Iterator[WebServer]:
    routes = {path: lambda: Answer(b"x") for path in ("/", "/live", "/state")}
    large = Answer(bytes(LARGE))
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


def answered(client: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            said += part
    return said


def is_live(server: WebServer) -> bool:
    with connected(server) as client:
        client.sendall(LIVE)
        return answered(client).startswith(b"HTTP/1.0 200")


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


def test_an_error_that_nobody_expects_ends_the_thread_and_is_told() -> None:
    served = WebServer("127.0.0.1", 0, {"/live": lambda: Answer(b"x"), "/defect": lambda: Answer(bytes(1 // 0))})
    served.start()
    with connected(served) as waiting, connected(served) as client:
        client.sendall(b"GET /defect HTTP/1.1\r\nHost: localhost\r\n\r\n")
        why = await_true(lambda: served.thread.hindrance, 5, "a hindrance")
        assert answered(client) + answered(waiting) == b""
    served.close()
    assert "the thread web has ended (ZeroDivisionError" in why


anything = st.binary(max_size=40)
names = st.sampled_from([b"Host", b"Origin", b"Sec-Fetch-Site", b"Content-Length", b"Transfer-Encoding", b" Host", b""])
values = st.sampled_from([b"localhost", b"[::1", b"[::ffff:127.0.0.1]:80", b"a@b", b"null", b"-1", b"cross-site"])
targets = st.sampled_from([b"/", b"/live", b"*", b"/%ff", b"http://[", b"//x", b"http://localhost:x/", b"/state?/.."])
fields = st.tuples(names | anything, st.sampled_from([b": ", b":", b" : ", b""]), values | anything).map(b"".join)
lines = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"POST", b"get", b""]) | anything,
    st.sampled_from([b" ", b"\t", b""]),
    targets | anything,
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2", b""]) | anything,
).map(b"".join)
ends = st.sampled_from([b"\r\n", b"\n", b"\r"])
requests = st.builds(
    lambda line, fields, end, last: end.join([line, *fields]) + last,
    lines,
    st.lists(fields, max_size=4),
    ends,
    st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\r\n", b""]),
)
sent = requests | st.binary(max_size=200)


@pytest.mark.generated
@generous(200)
@given(sent=sent)
def test_anything_is_answered_or_hung_up_on(patient_server: WebServer, sent: bytes) -> None:
    with connected(patient_server) as client:
        client.sendall(sent)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        said = client.recv(100)
    assert not said or re.match(rb"HTTP/1\.0 (200|400|403|404|405|421|431) ", said), said
    assert said or not sent.strip(b"\r\n")


@pytest.mark.generated
@generous(100)
@given(sent=sent)
def test_anything_is_read_or_refused_with_a_cause(sent: bytes) -> None:
    try:
        request = Request.parse(sent)
    except BadRequestError as error:
        why = str(error)
    else:
        refusal = Guests("127.0.0.1").refusal(request, "127.0.0.1")
        why = "none" if refusal is None else refusal.why
    assert 0 < len(why) < 200
    assert why.isprintable()
