"""What a relay asks of its boxes, whatever its readers want."""

from collections.abc import Iterator

import pytest
import zmq
from adainfd.relaying.streams import upstream as upstreams
from adainfd.relaying.streams.upstream import Upstream
from adainfd.wire.serving.requests import Requests
from generated import generous
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(upstreams, "time", clock)
    return clock


@pytest.fixture
def sockets() -> Iterator[tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"]]:
    """A relay's, and a box's that it is connected to."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as box, context.socket(zmq.XSUB) as relay:
        box.setsockopt(zmq.XPUB_VERBOSER, 1)
        for socket in (box, relay):
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.setsockopt(zmq.RCVHWM, 0)
        box.bind("inproc://box")
        relay.connect("inproc://box")
        yield relay, box


def heard(box: "zmq.Socket[bytes]") -> list[bytes]:
    requests = []
    while box.poll(0):
        requests.append(box.recv())
    return requests


_WANTED = st.sets(st.integers(0, 300), max_size=200) | st.integers(0, 300).map(lambda count: set(range(count)))


@pytest.mark.generated
@generous(60)
@given(turns=st.lists(st.tuples(_WANTED, st.floats(0.0, 2.0)), max_size=12))
def test_nothing_is_missed_and_no_box_is_asked_for_too_much(
    sockets: tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"], clock: Clock, turns: list[tuple[set[int], float]]
) -> None:
    relay, box = sockets
    upstream, requests = Upstream([relay]), Requests[str]()
    before: set[bytes] = set()
    for numbers, seconds in turns:
        clock.now += seconds
        wanted = {b"result/%d" % number for number in numbers}
        upstream.want(wanted, wanted - before)
        before = wanted
        for _ in range(2):  # at once, or when it is due
            upstream.update()
            if upstream.due is not None:
                clock.now = max(clock.now, upstream.due)
        for request in heard(box):
            assert requests.take("relay", request, clock.now) is None
        assert b"" in requests.wanted or wanted <= requests.wanted.keys()
    clock.now += 100
    upstream.want(set(), set())
    upstream.update()
    for request in heard(box):
        assert requests.take("relay", request, clock.now) is None
    assert requests.count == 0


def test_a_topic_that_somebody_asks_for_anew_is_asked_for_anew(
    sockets: tuple["zmq.Socket[bytes]", "zmq.Socket[bytes]"], clock: Clock
) -> None:
    relay, box = sockets
    upstream = Upstream([relay])
    for _ in range(3):
        upstream.want({b"a"}, {b"a"})
        upstream.update()
        upstream.update()
        assert heard(box) == [b"\1a"]
        clock.now += 1
    upstream.want(set(), set())
    upstream.update()
    assert heard(box) == [b"\0a"]
