"""The publisher, read by plain ZeroMQ: whoever comes late is told, whoever is slow slows nobody."""

import json
import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from adainfd.wire.endpoint import Endpoint
from adainfd.wire.messages import Event, Seen, State
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true
from streams import TOPIC, await_heard, hear, say

from adainf.debouncing.presence import EventKind

Connect = Callable[..., "zmq.Socket[bytes]"]


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """With a port that speaks JSON, and two paths: JSON and msgpack."""
    opened = Publisher(["tcp://127.0.0.1:*", f"ipc://{tmp_path}/s", Endpoint(f"ipc://{tmp_path}/m", "msgpack")])
    yield opened
    opened.close()


@pytest.fixture
def port(publisher: Publisher) -> str:
    return next(endpoint for endpoint in publisher.endpoints if endpoint.startswith("tcp"))


def greeted(publisher: Publisher, reader: "zmq.Socket[bytes]") -> None:
    """Say something, and have `reader` hear it as said before."""
    say(publisher)
    await_heard(publisher, reader)
    while reader.poll(0):
        reader.recv_multipart()


def test_late_subscriber_hears_the_last_of_each_topic_again(publisher: Publisher, connect: Connect, port: str) -> None:
    for topic in ("result/here/door", "result/here/door", "status/here"):
        say(publisher, topic, topic)
    late = connect(port)
    await_heard(publisher, late)
    told = [hear(late) for _ in range(2)]
    assert [(m["detail"], m["sequence"], m["repeated"]) for m in told] == [
        ("result/here/door", 2, True),
        ("status/here", 1, True),
    ]
    say(publisher)
    new = hear(late)
    assert (new["sequence"], new["repeated"]) == (2, False)
    assert told[0]["started_at"] > 1.7e9


def test_late_subscriber_hears_of_each_label_that_is_there(publisher: Publisher, connect: Connect, port: str) -> None:
    seen = Seen(1, 1.0)
    happened: list[tuple[EventKind, str]] = [
        ("appeared", "cat"),
        ("appeared", "dog"),
        ("appeared", "hen"),
        ("stays", "cat"),
        ("gone", "dog"),
        ("gone", "hen"),
    ]
    for kind, label in happened:

        def make(number: int, kind: EventKind = kind, label: str = label) -> Event:
            about = {"event": kind, "label": label, "index": 0, "score": 0.9, "seconds": 0.0, "published_at": 1.0}
            return Event(host="here", camera="door", sequence=number, first=seen, last=seen, **about)

        publisher.send("event/here/door", make)
    late = connect(port)
    await_heard(publisher, late)
    told = [hear(late) for _ in range(2)]
    assert [(m["label"], m["event"], m["sequence"]) for m in told] == [("cat", "stays", 4), ("hen", "gone", 6)]
    assert not late.poll(100)


def test_late_subscriber_hears_the_last_state_of_each_view(publisher: Publisher, connect: Connect, port: str) -> None:
    for region, state in ((None, "open"), ("left", "full"), (None, "closed"), ("left", None)):

        def make(number: int, region: str | None = region, state: str | None = state) -> State:
            return State(host="here", camera="gate", region=region, sequence=number, published_at=1.0, state=state)

        publisher.send("state/here/gate" if region is None else f"state/here/gate/{region}", make)
    late = connect(port, b"state/")
    await_heard(publisher, late)
    told = [hear(late) for _ in range(2)]
    assert [(m["region"], m["state"], m["sequence"]) for m in told] == [(None, "closed", 2), ("left", None, 2)]
    assert not late.poll(100)


def test_only_the_topics_asked_for_are_said_again(publisher: Publisher, connect: Connect, port: str) -> None:
    for topic in ("result/here/door", "status/here"):
        say(publisher, topic, topic)
    late = connect(port, b"result/")
    await_heard(publisher, late)
    assert hear(late)["detail"] == "result/here/door"
    assert not late.poll(100)


def test_every_endpoint_says_the_same(publisher: Publisher, connect: Connect) -> None:
    readers = {endpoint: connect(endpoint) for endpoint in publisher.endpoints}
    for reader in readers.values():
        greeted(publisher, reader)
    for reader in readers.values():
        while reader.poll(100):
            reader.recv_multipart()
    say(publisher, "the same")
    heard = []
    for endpoint, reader in readers.items():
        assert reader.poll(5000)
        topic, body = reader.recv_multipart()
        assert topic == TOPIC.encode()
        heard.append(msgspec.msgpack.decode(body) if endpoint.endswith("/m") else json.loads(body))
    assert heard[0]["detail"] == "the same"
    assert heard[0] == heard[1] == heard[2]


def test_a_crowd_is_greeted_together(publisher: Publisher, connect: Connect, port: str) -> None:
    """Each greeting reaches everyone, so a greeting for each who comes would be a message for each pair of them."""
    first = connect(port)
    greeted(publisher, first)
    start = time.monotonic()
    for _ in range(20):
        connect(port)
        assert select.select(publisher.readable, [], [], 5)[0]
        publisher.resend_last()
    await_true(lambda: publisher.resend_last() or publisher.resends_at is None, 5, "all are greeted")
    seconds = time.monotonic() - start
    heard = 0
    while first.poll(100):
        heard += hear(first)["repeated"]
    assert 1 <= heard <= 10 * seconds + 2


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_subscriber_that_does_not_read_slows_nobody(publisher: Publisher, connect: Connect, scheme: str) -> None:
    endpoint = next(e for e in publisher.endpoints if e.startswith(scheme))
    asleep, reader = connect(endpoint, rcvhwm=10), connect(endpoint)
    for socket_ in (asleep, reader):
        greeted(publisher, socket_)
    before = 0
    last = 0
    for batch in range(300):
        for _ in range(100):
            say(publisher, "x" * 1000)
        while last % 100 or last < 100 * (batch + 1):
            message = hear(reader)
            if not message["repeated"]:
                last = message["sequence"] - 2 if last else 1
        if batch == 20:
            before = resident()
    assert resident() - before < 10e6
    heard = [hear(asleep, 1)["sequence"]]
    say(publisher)
    while asleep.poll(500):
        heard.append(hear(asleep)["sequence"])
    assert 10 < len(heard) < 20_000
    assert heard[0] < 100 < heard[-1]


def test_a_crowd_of_subscribers_comes_and_goes(publisher: Publisher, port: str) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, 500)
        crowd = []
        for number in range(150):
            crowd.append(context.socket(zmq.SUB))
            crowd[-1].setsockopt(zmq.SUBSCRIBE, b"" if number % 2 else b"status/")
            crowd[-1].connect(port)
            say(publisher)
            publisher.resend_last()
            if number % 3 == 0:
                crowd.pop(0).close(linger=0)
        for reader in crowd:
            await_heard(publisher, reader)
            assert hear(reader)["state"] == "ready"
        for reader in crowd:
            reader.close(linger=0)
    say(publisher)
    await_true(
        lambda: publisher.resend_last() or len(list(Path("/proc/self/fd").iterdir())) <= descriptors + 2,
        10,
        "all have gone",
    )


def test_random_bytes_and_half_open_connections_leave_it_serving(
    publisher: Publisher, connect: Connect, port: str
) -> None:
    address = ("127.0.0.1", int(port.rpartition(":")[2]))
    noise = random.Random(0)
    greeting = bytes([0xFF, *[0] * 8, 0x7F, 3, 0]) + b"NULL".ljust(20, b"\0") + bytes(32)
    idle = [socket.create_connection(address) for _ in range(50)]
    for number in range(300):
        with socket.create_connection(address) as stranger:
            stranger.sendall((b"", greeting[:11], greeting)[number % 3] + noise.randbytes(noise.randrange(1, 3000)))
            if number % 2:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        say(publisher)
        publisher.resend_last()
    reader = connect(port)
    await_heard(publisher, reader)
    assert hear(reader)["state"] == "ready"
    for connection in idle:
        connection.close()


def test_a_flood_of_subscriptions_does_not_keep_the_publisher(
    publisher: Publisher, connect: Connect, port: str
) -> None:
    say(publisher)
    flood = connect(port)
    for number in range(20_000):
        flood.setsockopt(zmq.SUBSCRIBE, b"nothing/%d" % number)
    reader = connect(port)
    await_heard(publisher, reader)
    assert hear(reader)["repeated"]


def test_subscriptions_are_counted_until_their_client_has_gone(
    publisher: Publisher, connect: Connect, port: str
) -> None:
    def count() -> int:
        publisher.resend_last()
        return publisher.subscriptions

    first, second = connect(port), connect(port)
    await_true(lambda: count() == 2, 10, "two subscriptions")
    first.close()
    await_true(lambda: count() == 1, 10, "one has gone")
    second.close()
    await_true(lambda: count() == 0, 10, "both have gone")
