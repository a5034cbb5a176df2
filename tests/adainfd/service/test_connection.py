"""Clients that are slow, and clients that send anything at all, over real connections."""

import contextlib
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from adainfd.service.access import Access
from adainfd.service.refusals import Refusals
from adainfd.service.request import BadRequestError, Request
from adainfd.service.response import Response
from adainfd.service.web import WebServer
from daemons import await_true
from generated import generous
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.fixture(scope="module")
def busy_server() -> Iterator[WebServer]:
    """One that takes all the time it needs."""
    refusals = Refusals()
    routes = {path.decode(): lambda body=body: Response(body) for path, body in BODIES.items()}
    served = WebServer("127.0.0.1", 0, routes, refusals=refusals, seconds=60.0, share=1.0)
    served.start()
    yield served
    assert served.thread.hindrance is None
    assert refusals.counts["failed"] == 0
    served.close()


def connected(server: WebServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=10)


def answered(client: socket.socket) -> bytes:
    """All that comes until the other end hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(1 << 16):
            said += part
    return said


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
        monkeypatch.setattr("adainfd.service.request.Request.parse", lambda head: head.decode("ascii").index("\0"))
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


BATCH = 16
BODIES = {b"/": b"page", b"/live": b"yes", b"/state": b"state", b"/metrics": b"metrics", b"/picture/door": b"jpeg"}
anything = st.binary(max_size=40)
methods = st.sampled_from(
    [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"PUT", b"get", b"GE T", b""]
)
targets = st.sampled_from(
    [
        *BODIES,
        *BODIES,
        b"*",
        b"",
        b"//x",
        b"/%ff",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%00",
        b"/%2e%2e/etc/passwd",
        b"/../../../etc/passwd",
        b"/picture/..%2f..%2fetc%2fpasswd",
        b"/picture/door%00",
        b"/state?x=/../live#/",
        b"/;live",
        b"http://",
        b"http://[",
        b"http://[::1]/state",
        b"http://u:p@localhost/state",
        b"http://localhost:x/",
        b"HTTP://LOCALHOST/state",
        b"http://evil.example/state",
        b"file:///etc/passwd",
        b"localhost:80",
        b"/" + b"a" * 20_000,
        b"/" + b"%41" * 3000,
    ]
)
versions = st.sampled_from(
    [b" HTTP/1.1"] * 4 + [b" HTTP/1.0", b" HTTP/2.0", b" HTTP/0.9", b" HTTP/1.2", b" http/1.1", b""]
)
names = st.sampled_from(
    [
        b"Host",
        b"Host",
        b"host",
        b"HOST",
        b" Host",
        b"Host ",
        b"Origin",
        b"Sec-Fetch-Site",
        b"Sec-Fetch-Mode",
        b"Cookie",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Expect",
        b"Upgrade",
        b"Connection",
        b"X-Forwarded-Host",
        b"Range",
        b"",
    ]
)
values = st.sampled_from(
    [
        b"localhost",
        b"LocalHost.:9600",
        b"127.0.0.1",
        b"[::1]",
        b"[::1",
        b"[::ffff:127.0.0.1]:80",
        b"evil.example",
        b"a@b",
        b"localhost:99999999",
        b"localhost, evil.example",
        b"127.1",
        b"0.0.0.0",
        b"\xff",
        b"null",
        b"-1",
        b"5",
        b"chunked",
        b"cross-site",
        b"same-origin",
        b"navigate",
        b"100-continue",
        b"h2c",
        b"bytes=0-",
        b"x" * 20000,
        b"",
    ]
)
fields = st.tuples(
    names | anything, st.sampled_from([b": ", b": ", b":", b" : ", b"", b":\r\n "]), values | anything
).map(b"".join)
lines = st.tuples(
    methods | anything, st.sampled_from([b" ", b" ", b" ", b"\t", b"  ", b""]), targets | anything, versions
)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r", b"\0"])
bodies = st.sampled_from(
    [
        b"",
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"x" * 70000,
        b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
        b"\r\n\r\n\x00",
    ]
)
requests = st.builds(
    lambda line, host, fields, end, last, body: end.join([b"".join(line), *host, *fields]) + last + body,
    lines,
    st.sampled_from([[b"Host: localhost"], [b"Host: localhost"], [b"Host: 127.0.0.1:9600"], []]),
    st.lists(fields, max_size=3) | st.sampled_from([[b"X: y"] * 99, [b"X: y"] * 200]),
    ends,
    st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\r", b"\r\n", b""]),
    bodies,
)
others = st.sampled_from(
    [
        b"GET /state\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n" * 5000,
    ]
)
mutilated = st.builds(
    lambda whole, at, cut, more: whole[:at] + more + whole[at + cut :],
    requests,
    st.integers(0, 80),
    st.integers(0, 5),
    st.binary(max_size=4),
)
sent = requests | requests | mutilated | others | st.binary(max_size=200)
OF_OURS = re.compile(rb"localhost|127\.\d|::1", re.IGNORECASE)


def complaint(sent: bytes, said: bytes) -> str | None:
    """What is wrong with this answer to whatever was sent."""
    if not said:
        return "hung up" if sent.strip(b"\r\n") else None
    head, _, body = said.partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.0 (200|400|403|404|405|421|431) ", head):
        return "another status"
    if b"Cross-Origin-Resource-Policy: same-origin\r\n" not in head:
        return "may be lent"
    if b" 200 " in head[:13]:
        if body not in (b"", *BODIES.values()):
            return "something else was read"
        if body not in (b"", b"yes", b"metrics") and not OF_OURS.search(sent):
            return "addressed to nobody"
    elif len(body) > 300 or not body.decode().removesuffix("\n").isprintable():
        return "more than a line"
    return None


messages = generous(20 * BATCH).max_examples


@pytest.mark.generated
@settings(generous(20), max_examples=-(-messages // BATCH))
@given(batch=st.lists(st.tuples(sent, st.booleans()), min_size=BATCH, max_size=BATCH))
def test_anything_is_answered_or_hung_up_on(busy_server: WebServer, batch: list[tuple[bytes, bool]]) -> None:
    """Whatever is sent, in a batch of connections at once: some leave without hearing the answer."""
    with contextlib.ExitStack() as held:
        waiting = []
        for message, stays in batch:
            client = held.enter_context(connected(busy_server))
            with contextlib.suppress(OSError):
                client.sendall(message)
                client.shutdown(socket.SHUT_WR)
            if stays:
                waiting.append((client, message))
            else:
                client.close()
        for client, message in waiting:
            said = answered(client)
            assert (wrong := complaint(message, said)) is None, (wrong, message, said)
    assert is_live(busy_server)


@pytest.mark.generated
@generous(100)
@given(sent=sent)
def test_anything_is_read_or_refused_with_a_cause(sent: bytes) -> None:
    try:
        request = Request.parse(sent)
    except BadRequestError as error:
        why = str(error)
    else:
        refusal = Access("127.0.0.1").refusal(request, "127.0.0.1")
        why = "none" if refusal is None else refusal.why
    assert 0 < len(why) < 200
    assert why.isprintable()
