import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from adainfd.client import Condition, Gap, Link, Message, Notice, Status, Subscriber, Unreadable
from adainfd.wire.endpoint import Endpoint
from adainfd.wire.keys import KeyPair
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true, free_port
from streams import TOPIC, Log, a_result, say

from adainf.base.errors import InvalidInputError


@pytest.fixture
def notices() -> list[Notice]:
    return []


@pytest.fixture
def both(tmp_path: Path, notices: list[Notice]) -> Iterator[tuple[Publisher, Subscriber]]:
    """A publisher and a subscriber that has heard its first message."""
    publisher = Publisher([f"ipc://{tmp_path}/s"])
    say(publisher)
    try:
        with Subscriber(*publisher.endpoints, topics=[TOPIC], notice=notices.append) as subscriber:
            assert hear(publisher, subscriber).repeated
            yield publisher, subscriber
    finally:
        publisher.close()


def hear(publisher: Publisher, subscriber: Subscriber, seconds: float = 10) -> Message:
    """The next message of a publisher that greets."""

    def heard() -> Message | None:
        publisher.resend_last()
        return subscriber.receive(0.02)

    message: Message = await_true(heard, seconds, "a message")
    return message


def say_as(publisher: Publisher, *sequences: int) -> None:
    """Messages that say to have these sequences."""
    for told in sequences:
        publisher.send(TOPIC, lambda _, told=told: Status(host="here", sequence=told, state="ready", published_at=1))


def sequence(subscriber: Subscriber) -> int:
    message = subscriber.receive(5)
    assert message is not None
    return message.sequence


def test_nothing_is_lost_without_holes(both: tuple[Publisher, Subscriber]) -> None:
    publisher, subscriber = both
    for _ in range(3):
        say(publisher)
    assert [sequence(subscriber) for _ in range(3)] == [2, 3, 4]
    assert subscriber.lost == 0


def test_gaps_are_told_and_counted(both: tuple[Publisher, Subscriber], notices: list[Notice]) -> None:
    publisher, subscriber = both
    say_as(publisher, 2, 5, 6, 9)
    assert [sequence(subscriber) for _ in range(4)] == [2, 5, 6, 9]
    assert [notice for notice in notices if isinstance(notice, Gap)] == [Gap(TOPIC, 2, 5), Gap(TOPIC, 6, 9)]
    assert subscriber.lost == 4


def test_what_is_said_again_for_others_is_passed_over(
    both: tuple[Publisher, Subscriber], notices: list[Notice]
) -> None:
    publisher, subscriber = both
    with Subscriber(*publisher.endpoints, topics=[TOPIC]) as other:
        assert hear(publisher, other).repeated
    say(publisher)
    assert sequence(subscriber) == 2
    assert subscriber.lost == 0
    assert not [notice for notice in notices if not isinstance(notice, Link)]


def say_of(publisher: Publisher, region: str) -> None:
    """A result of a region."""
    publisher.send("result/here/door", lambda number: a_result(number, region))


def test_late_subscriber_hears_each_region_and_misses_nothing(tmp_path: Path, notices: list[Notice]) -> None:
    publisher = Publisher([f"ipc://{tmp_path}/s"])
    try:
        for region in ("left", "right", "right", "right", "left", "right", "right"):
            say_of(publisher, region)
        with Subscriber(*publisher.endpoints, notice=notices.append) as subscriber:
            heard = [hear(publisher, subscriber), hear(publisher, subscriber)]
            say_of(publisher, "left")
            heard.append(hear(publisher, subscriber))
        assert [(message.sequence, message.repeated) for message in heard] == [(5, True), (7, True), (8, False)]
        assert not [notice for notice in notices if isinstance(notice, Gap)]
    finally:
        publisher.close()


def test_daemon_that_starts_anew_counts_from_one_and_nothing_counts_as_lost(
    both: tuple[Publisher, Subscriber], notices: list[Notice]
) -> None:
    publisher, subscriber = both
    say_as(publisher, 7)
    assert sequence(subscriber) == 7
    publisher.close()
    await_true(lambda: subscriber.receive(0.02) or subscriber.links[0].state == "absent", 10, "it is noticed")
    anew = Publisher([subscriber.links[0].endpoint])
    try:
        for _ in range(20):
            say(anew)
        message = hear(anew, subscriber)
        assert (message.sequence, message.repeated) == (20, True)
        assert subscriber.lost == 5
    finally:
        anew.close()
    states = [notice.state for notice in notices if isinstance(notice, Link)]
    assert states == ["connected", "absent", "connected"]


def test_silence(both: tuple[Publisher, Subscriber]) -> None:
    assert both[1].receive(0.05) is None
    assert both[1].receive(0) is None


def test_packed_messages_are_read_as_well(tmp_path: Path) -> None:
    publisher = Publisher([Endpoint(f"ipc://{tmp_path}/m", "msgpack")])
    say(publisher, "packed")
    with Subscriber(*publisher.endpoints, topics=[TOPIC]) as subscriber:
        message = hear(publisher, subscriber)
        assert isinstance(message, Status)
        assert message.detail == "packed"
    publisher.close()


def await_condition(subscriber: Subscriber, condition: Condition) -> Link:
    """The first link, once `condition` holds."""
    await_true(lambda: subscriber.receive(0.02) or subscriber.condition == condition, 10, condition)
    return subscriber.links[0]


def test_quiet(tmp_path: Path, both: tuple[Publisher, Subscriber]) -> None:
    assert both[1].condition == "receiving"
    with Subscriber(*both[0].endpoints, topics=["nothing/"]) as other:
        assert await_condition(other, "quiet").state == "connected"


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_no_publisher(tmp_path: Path, scheme: str) -> None:
    endpoint = f"tcp://127.0.0.1:{free_port()}" if scheme == "tcp" else f"ipc://{tmp_path}/s"
    with Subscriber(endpoint) as subscriber:
        await_true(lambda: subscriber.receive(0.02) or subscriber.links[0].state == "absent", 10, "it is noticed")
        assert subscriber.condition == "no publisher"
        assert "nobody listens" in str(subscriber.links[0].why)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Publisher]:
    (tmp_path / "clients").mkdir()
    for name in ("box", "clients/friend", "stranger"):
        KeyPair.new(tmp_path / name)
    curve = CurveServer.read(tmp_path / "box.key_secret", tmp_path / "clients", Log())
    publisher = Publisher(["tcp://127.0.0.1:*"], curve=curve)
    say(publisher)
    yield publisher
    publisher.close()


def test_allowed(guarded: Publisher, tmp_path: Path) -> None:
    keys = {"key": tmp_path / "clients" / "friend.key_secret", "server": str(tmp_path / "box.key")}
    with Subscriber(*guarded.endpoints, topics=[TOPIC], **keys) as subscriber:
        assert hear(guarded, subscriber).sequence == 1


@pytest.mark.parametrize(
    ("key", "server", "why"),
    [
        ("stranger.key_secret", "box.key", "our key is not among its clients"),
        ("clients/friend.key_secret", "stranger.key", "its public key is not the one that we were given"),
        (None, None, "it wants keys, and we have none"),
    ],
)
def test_not_allowed(guarded: Publisher, tmp_path: Path, key: str | None, server: str | None, why: str) -> None:
    keys = {"key": tmp_path / key, "server": str(tmp_path / server)} if key and server else {}
    with Subscriber(*guarded.endpoints, **keys) as subscriber:
        link = await_condition(subscriber, "not allowed")
        assert link.state == "refused"
        await_true(lambda: subscriber.receive(0.02) or why in str(subscriber.links[0].why), 10, why)


def test_keys_where_none_are_wanted(both: tuple[Publisher, Subscriber], tmp_path: Path) -> None:
    KeyPair.new(tmp_path / "a")
    keys = {"key": tmp_path / "a.key_secret", "server": str(tmp_path / "a.key")}
    with Subscriber(*both[0].endpoints, **keys) as subscriber:
        assert await_condition(subscriber, "not allowed").why


def test_who_is_let_in_later_comes_in(guarded: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adainfd.wire.reading.feed.AFTER_REFUSAL_SECONDS", 0.1)
    keys = {"key": tmp_path / "stranger.key_secret", "server": str(tmp_path / "box.key")}
    with Subscriber(*guarded.endpoints, topics=[TOPIC], **keys) as subscriber:
        await_condition(subscriber, "not allowed")
        (tmp_path / "stranger.key").rename(tmp_path / "clients" / "stranger.key")
        assert hear(guarded, subscriber).sequence == 1
        assert subscriber.links[0].state == "connected"


def test_what_cannot_be_read_is_told_and_does_no_harm(tmp_path: Path, notices: list[Notice]) -> None:
    endpoint = f"ipc://{tmp_path}/s"
    good = msgspec.json.encode(Status(host="here", sequence=1, state="ready", published_at=1))
    with zmq.Context() as context, context.socket(zmq.XPUB) as other:
        other.bind(endpoint)
        with Subscriber(endpoint, topics=[""], notice=notices.append) as subscriber:
            await_true(lambda: other.poll(10), 10, "a subscription")
            for parts in ([b"status/x", b"{"], [b"status/x", b"\xff"], [b"x"], [b"new/x", b"{}"], [b"\xff", b"", b""]):
                other.send_multipart(parts)
            other.send_multipart([TOPIC.encode(), good])
            assert sequence(subscriber) == 1
    assert [type(notice) for notice in notices[1:]] == [Unreadable] * 5


def test_asyncio(both: tuple[Publisher, Subscriber]) -> None:
    publisher, subscriber = both

    async def read() -> list[int]:
        heard = []
        async for message in subscriber:
            heard.append(message.sequence)
            if len(heard) == 200:
                return heard
        return []

    async def publish() -> None:
        for _ in range(200):
            say(publisher)
            await asyncio.sleep(0)

    async def together() -> list[int]:
        assert await subscriber.receive_async(0.02) is None
        reading = asyncio.create_task(read())
        await publish()
        return await asyncio.wait_for(reading, 10)

    assert asyncio.run(together()) == list(range(2, 202))
    assert subscriber.lost == 0


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Subscriber("tcp://127.0.0.1:65536"), "65536"),
        (lambda: Subscriber(), "none given"),
        (
            lambda: Subscriber("ipc://s", topics=[f"result/h/c{n}" for n in range(257)]),
            "257 given.*more than 256 topics",
        ),
        (lambda: Subscriber("ipc://s", topics=["result/" + "é" * 125]), "1 given.*257 bytes"),
        (lambda: Subscriber("ipc://s", server="0" * 40), "key and server go together"),
        (lambda: Subscriber("ipc://s", key="nosuch", server="x"), "nosuch"),
    ],
)
def test_refused(make: Callable[[], Subscriber], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        make()


def test_closing_leaves_nothing(both: tuple[Publisher, Subscriber]) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with Subscriber(*both[0].endpoints) as subscriber:
            subscriber.receive(0)
    await_true(lambda: len(list(Path("/proc/self/fd").iterdir())) <= descriptors, 10, "all are closed")


def test_importing_it_brings_in_neither_torch_nor_opencv() -> None:
    code = "import sys, adainfd.client; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "adainfd.client" in modules
    assert not {"torch", "cv2", "onnxruntime", "pydantic"} & set(modules)
