"""What readers may ask for, without any reader."""

import pytest
from adainfd.wire.serving.requests import LONGEST_TOPIC, Requests
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"


def subscribe(requests: Requests[str], reader: str, count: int, length: int = 20) -> list[str]:
    """Subscribe to so many topics of that reader's own; who is hung up on for it."""
    hung_up = []
    for number in range(count):
        topic = f"{reader}/{number}/".ljust(length, "x").encode()
        if (excess := requests.take(reader, SUBSCRIBE + topic, 0.0)) is not None:
            hung_up.append(excess.connection)
            requests.forget(excess.connection)
    return hung_up


def test_a_reader_may_change_all_its_topics() -> None:
    requests: Requests[str] = Requests()
    assert subscribe(requests, "one", 256) == []
    for topic in list(requests.wanted):
        assert requests.take("one", UNSUBSCRIBE + topic, 0.0) is None
    assert requests.count == 0
    assert subscribe(requests, "one", 256) == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([SUBSCRIBE + b"x" * (LONGEST_TOPIC + 1)], "a topic of 257 bytes; at most 256"),
        ([UNSUBSCRIBE + b"x" * 300], "a topic of 300 bytes"),
        ([SUBSCRIBE + b"%d" % number for number in range(257)], "more than 256 topics"),
        ([SUBSCRIBE + b"same"] * 1025, "requests a second"),
        ([SUBSCRIBE + b"a", UNSUBSCRIBE + b"a"] * 512 + [SUBSCRIBE + b"a"], "requests a second"),
        ([UNSUBSCRIBE + b"never"] * 1025, "requests a second"),
        ([b""], "something other than subscriptions"),
        ([b"result/here/door"], "something other than subscriptions"),
        ([b"\2a"], "something other than subscriptions"),
    ],
)
def test_who_asks_for_more_is_hung_up_on(asked: list[bytes], why: str) -> None:
    requests: Requests[str] = Requests()
    *before, last = (requests.take("one", request, 0.0) for request in asked)
    assert set(before) <= {None}
    assert last is not None
    assert why in last.why


def test_requests_may_be_sent_again_after_a_while() -> None:
    requests: Requests[str] = Requests()
    for second in range(100):
        for _ in range(60):
            assert requests.take("one", SUBSCRIBE + b"same", float(second)) is None


@pytest.mark.parametrize(("length", "greedy"), [(20, 30), (250, 10)])
def test_who_takes_the_most_room_makes_room(length: int, greedy: int) -> None:
    """Bounds on all must not keep away those who ask for little."""
    requests: Requests[str] = Requests()
    hung_up = [name for number in range(greedy) for name in subscribe(requests, f"greedy{number}", 200, length)]
    assert hung_up
    assert subscribe(requests, "modest", 3) == []
    assert requests.wanted[b"modest/0/xxxxxxxxxxx"] == 1
    assert requests.count <= 4096
    assert sum(map(len, requests.wanted)) <= 96 * 1024


_REQUEST = st.tuples(
    st.integers(0, 5),
    st.sampled_from([SUBSCRIBE, UNSUBSCRIBE, b"", b"\2"]),
    st.sampled_from([b"", b"a", b"result/"]) | st.binary(max_size=300),
    st.floats(0, 1),
)


@pytest.mark.generated
@generous(100)
@given(came=st.lists(_REQUEST, max_size=60))
def test_whatever_is_asked_is_counted_exactly(came: list[tuple[int, bytes, bytes, float]]) -> None:
    requests: Requests[int] = Requests()
    topics: dict[int, set[bytes]] = {}
    now = 0.0
    for reader, kind, topic, seconds in came:
        now += seconds
        excess = requests.take(reader, kind + topic, now)
        (
            topics.setdefault(reader, set()).add
            if (kind + topic)[:1] == SUBSCRIBE
            else topics.setdefault(reader, set()).discard
        )((kind + topic)[1:])
        if excess is not None:
            requests.forget(excess.connection)
            topics.pop(excess.connection)
        assert requests.count == sum(map(len, topics.values()))
        assert set(requests.wanted) == set().union(*topics.values())
    for reader in range(6):
        requests.forget(reader)
    assert (requests.count, requests.wanted) == (0, {})
