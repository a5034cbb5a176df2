"""Whatever is sent to the HTTP port is answered, or hung up on: malformed heads, lengths, hosts, and plain noise."""

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest
from adainfd.service.web.access import Access
from adainfd.service.web.refusals import Refusals
from adainfd.service.web.request import BadRequestError, HttpRequest
from adainfd.service.web.response import Response
from adainfd.service.web.server import WebServer
from generated import generous
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_http import answered

BATCH = 16
BODIES = {b"/": b"page", b"/live": b"yes", b"/state": b"state", b"/metrics": b"metrics", b"/picture/door": b"jpeg"}

LIVE = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def sending(server: WebServer, message: bytes) -> socket.socket:
    """A connection that has sent this, and will send no more."""
    client = socket.create_connection(server.address, timeout=10)
    with contextlib.suppress(OSError):  # it is hung up on already
        client.sendall(message)
        client.shutdown(socket.SHUT_WR)
    return client


def asked(server: WebServer, message: bytes) -> bytes:
    with sending(server, message) as client:
        return answered(client)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    """One that takes all the time it needs."""
    refusals = Refusals()
    routes = {path.decode(): lambda body=body: Response(body) for path, body in BODIES.items()}
    served = WebServer("127.0.0.1", 0, routes, refusals=refusals, seconds=60.0, share=1.0)
    served.start()
    yield served
    assert served.thread.hindrance is None
    assert refusals.counts["failed"] == 0
    served.close()


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
def test_anything_is_answered_or_hung_up_on(server: WebServer, batch: list[tuple[bytes, bool]]) -> None:
    """Whatever is sent, in a batch of connections at once: some leave without hearing the answer."""
    with contextlib.ExitStack() as held:
        waiting = []
        for message, stays in batch:
            client = held.enter_context(sending(server, message))
            if stays:
                waiting.append((client, message))
            else:
                client.close()
        for client, message in waiting:
            # Connections that are about to close may still crowd out this one.
            said = answered(client) or asked(server, message)
            assert (wrong := complaint(message, said)) is None, (wrong, message, said)
    assert asked(server, LIVE).startswith(b"HTTP/1.0 200")


@pytest.mark.generated
@generous(100)
@given(sent=sent)
def test_anything_is_read_or_refused_with_a_cause(sent: bytes) -> None:
    try:
        request = HttpRequest.parse(sent)
    except BadRequestError as error:
        why = str(error)
    else:
        refusal = Access("127.0.0.1").refusal(request, "127.0.0.1")
        why = "none" if refusal is None else refusal.why
    assert 0 < len(why) < 200
    assert why.isprintable()
