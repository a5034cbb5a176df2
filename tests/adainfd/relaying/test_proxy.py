"""Many boxes at one address, seen by plain ZeroMQ and by our client."""

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import strangers
import zmq
from adainfd.client import Link, Notice, State, Subscriber
from adainfd.relaying import from_command_line
from adainfd.relaying import run as relay
from adainfd.wire.keys import KeyPair
from adainfd.wire.messages import topic_of
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.publisher import Publisher
from brokers import Attacker, a_status, state_of
from daemons import Program, assert_refused, await_true, free_port
from strangers import MORE, SUBSCRIBE, frame
from streams import Log, say

from adainf.base.errors import InvalidInputError

WRONG = 78
TOPICS = ("status/here/a", "status/here/b")


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[list[Publisher]]:
    """Two, each with a topic of its own that was said before anybody listened."""
    publishers = [Publisher([f"ipc://{tmp_path}/{name}"]) for name in ("a", "b")]
    for publisher, topic in zip(publishers, TOPICS, strict=True):
        say(publisher, topic, topic)
    yield publishers
    for publisher in publishers:
        publisher.close()


def await_topics(subscriber: Subscriber, boxes: list[Publisher]) -> dict[str, Any]:
    """The first message of each topic that comes, by what it says."""
    heard: dict[str, Any] = {}

    def both() -> bool:
        for publisher in boxes:
            publisher.resend_last()
        if (message := subscriber.receive(0.02)) is not None:
            heard.setdefault(getattr(message, "detail", ""), message)
        return len(heard) == len(boxes)

    await_true(both, 20, f"topics, {heard}")
    return heard


def test_the_streams_of_two_boxes_and_what_they_said_last(launch: Any, boxes: list[Publisher], ipc: str) -> None:
    relay = launch("relay", "--connect", *boxes[0].endpoints, "--connect", *boxes[1].endpoints, "--bind", ipc)
    assert relay.await_event("relaying")["endpoints"] == [ipc]
    for _ in range(2):  # the second comes late to a relay that has subscribed already
        with Subscriber(ipc, topics=["status/"]) as subscriber:
            heard = await_topics(subscriber, boxes)
            assert {topic: heard[topic].repeated for topic in heard} == dict.fromkeys(TOPICS, True)
            say(boxes[0], "new", TOPICS[0])
            message = subscriber.receive(5)
            assert message is not None
            assert (message.repeated, subscriber.lost) == (False, 0)
            say(boxes[0], TOPICS[0], TOPICS[0])
    relay.process.send_signal(signal.SIGTERM)
    assert relay.ended(5) == 0
    assert len(relay.named("box_connected")) == 2
    assert "Traceback" not in relay.said


def test_the_last_state_of_each_region_passes(launch: Any, boxes: list[Publisher], ipc: str) -> None:
    for region, state in (("left", "open"), ("left", "closed"), ("right", "open")):
        told = state_of("here", "gate", region, state)
        boxes[0].send(topic_of(told), lambda number, told=told: msgspec.structs.replace(told, sequence=number))  # type: ignore[misc]
    launch("relay", "--connect", *boxes[0].endpoints, "--bind", ipc)
    heard: dict[str | None, State] = {}
    with Subscriber(ipc, topics=["state/here/gate"]) as subscriber:

        def both() -> bool:
            boxes[0].resend_last()
            message = subscriber.receive(0.02)
            if isinstance(message, State):
                heard[message.region] = message
            return len(heard) == 2

        await_true(both, 20, f"states, {heard}")
    told_by_region = {region: (state.state, state.sequence, state.repeated) for region, state in heard.items()}
    assert told_by_region == {"left": ("closed", 2, True), "right": ("open", 1, True)}


def test_nobody_is_sent_what_nobody_wants(launch: Any, boxes: list[Publisher], ipc: str) -> None:
    launch("relay", "--connect", *boxes[0].endpoints, "--bind", ipc)
    with Subscriber(ipc, topics=["status/"]) as one, Subscriber(ipc, topics=["status/"]) as other:
        await_topics(one, boxes[:1])
        await_topics(other, boxes[:1])
    outlet = boxes[0]._outlets["json"].socket

    def unsubscribed() -> bool:
        return bool(outlet.poll(10)) and outlet.recv() == b"\0status/"

    await_true(unsubscribed, 10, "the last subscription is taken back")


def test_box_that_comes_later_and_comes_back(launch: Any, tmp_path: Path, ipc: str) -> None:
    box = f"ipc://{tmp_path}/a"
    relay = launch("relay", "--connect", box, "--bind", ipc)
    relay.await_event("box_absent")
    with Subscriber(ipc, topics=["status/"]) as subscriber:
        for _ in range(2):
            publisher = Publisher([box])
            say(publisher, TOPICS[0], TOPICS[0])
            await_topics(subscriber, [publisher])
            publisher.close()
    await_true(lambda: len(relay.named("box_absent")) >= 2, 10, "the box has gone again")


def test_a_reader_who_wants_everything_hurts_neither_the_others_nor_the_boxes(
    launch: Any, boxes: list[Publisher], ipc: str
) -> None:
    port = f"tcp://127.0.0.1:{free_port()}"
    relay = launch("relay", "--connect", boxes[0].endpoints[0], "--bind", port, "--bind", ipc)
    relay.await_event("relaying")

    with Subscriber(ipc, topics=["status/"]) as subscriber:
        await_topics(subscriber, boxes[:1])
        before = relay.megabytes()
        many = [b"".join(frame(SUBSCRIBE + b"%d/%d" % (n, m)) for m in range(200)) for n in range(20)]
        endless = [frame(SUBSCRIBE + b"x" * 200, MORE) * 5000] * 5
        held = []
        for number, what in enumerate(many + endless):
            held.append(strangers.subscriber((port, ipc)[number % 2]))
            with contextlib.suppress(OSError):
                held[-1].sendall(what)
            say(boxes[0], str(number), TOPICS[0])
            await_true(
                lambda n=number: boxes[0].resend_last() or getattr(subscriber.receive(0.02), "detail", "") == str(n),
                10,
                "the other reader hears",
            )
        assert relay.megabytes() - before < 20
        assert boxes[0].subscriptions <= 256
        assert boxes[0].hung_up == 0
        for stranger in held:
            stranger.close()
        # Those who went took their topics with them.
        await_true(lambda: boxes[0].resend_last() or boxes[0].subscriptions == 1, 20, "one subscription is left")
    assert relay.await_event("reader_hung_up_on", 10)["hung_up"] >= 1
    assert subscriber.lost == 0
    assert "Traceback" not in relay.said


def assert_no_message_is_endless(attacker: Attacker, relay: Program) -> None:
    """Of a message that has no end the relay keeps some parts, and lets go of them."""
    before, most = relay.megabytes(), 0.0
    attacker.socket.send(b"status/evil", zmq.SNDMORE)
    for _ in range(5000):
        attacker.socket.send(b"x" * 200_000, zmq.SNDMORE)
        time.sleep(0.001)
        most = max(most, relay.megabytes())
        if "without end" in str(relay.named("box_absent")):
            break
    attacker.socket.send(b"")
    assert most - before < 500
    await_true(lambda: relay.megabytes() - before < 10, 10, "memory comes back")


def test_a_box_speaks_in_its_own_name_alone_and_leaves_the_others_their_turn(
    launch: Any, flooder: Attacker, tmp_path: Path, ipc: str
) -> None:
    """The honest box is behind a relay of its own."""
    publisher = Publisher([f"ipc://{tmp_path}/good"])
    say(publisher, "first", "status/edge1/a")
    launch("relay", "--connect", *publisher.endpoints, "--bind", f"ipc://{tmp_path}/inner")
    file = tmp_path / "relay.toml"
    hosts = {"evil": '"evil"', "inner": '["edge1", "edge3"]'}
    tables = [f'[[box]]\nconnect = "ipc://{tmp_path}/{name}"\nhost = {host}' for name, host in hosts.items()]
    file.write_text("\n".join([*tables, f'[publish]\nbind = ["{ipc}"]']), encoding="utf-8")
    relay: Program = launch("relay", "--config", file)
    topics: Counter[bytes] = Counter()
    with (
        zmq.Context() as context,
        context.socket(zmq.SUB) as everything,
        Subscriber(ipc, topics=["status/edge1"]) as one,
    ):
        everything.setsockopt(zmq.SUBSCRIBE, b"")
        everything.connect(ipc)
        flooder.await_subscribed()

        def comes(topic: bytes) -> bool:
            while everything.poll(0):
                topics[everything.recv_multipart()[0]] += 1
            return topics[topic] > 0

        await_true(lambda: publisher.resend_last() or comes(b"status/edge1/a"), 20, "the honest box")
        for topic in (
            "status/edge1",
            "status/edge1/a",
            "event/edge3/x",
            "status/",
            "status",
            "",
            b"status/\xff",
            "x" * 500,
        ):
            flooder.send(topic, a_status("edge1", state="stopped"))
        flooder.socket.send(b"status/evil")
        flooder.socket.send_multipart([b"status/evil", b"{}", b"{}"])
        flooder.send("status/evil/end", a_status("evil", "end"))
        await_true(lambda: comes(b"status/evil/end"), 10, "its own name")
        assert relay.named("message_refused")[0]["why"] == "speaks as 'edge1', and its host is evil"
        before = topics.copy()
        over = threading.Event()

        def flood() -> None:
            while not over.is_set():
                flooder.send("status/evil/flood", b"{" * 900)
                flooder.send("status/edge1/flood", b"{" * 900)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            relay.await_event("box_too_fast")
            for number in range(100):
                say(publisher, str(number), "status/edge1/a")
                told = await_true(lambda: publisher.resend_last() or one.receive(0.02), 10, "it is heard")
                while told.detail != str(number):
                    told = await_true(lambda: publisher.resend_last() or one.receive(0.02), 10, "it is heard")
                comes(b"")
        finally:
            over.set()
            flooding.join()
        assert one.lost == 0

        def hung_up() -> bool:
            flooder.socket.send_multipart([b"status/evil", *[b"x" * 200_000] * 3])
            return "of 262144 allowed" in str(relay.named("box_absent"))

        await_true(hung_up, 10, "it sends too much at once")

        def again(camera: str) -> bool:
            flooder.send(f"status/evil/{camera}", a_status("evil", camera))
            return comes(f"status/evil/{camera}".encode())

        await_true(lambda: again("again"), 10, "it is taken up again")
        absences = len(relay.named("box_absent"))
        flooder.send("status/evil", b"x" * 300_000)  # libzmq itself hangs up, for good
        await_true(lambda: len(relay.named("box_absent")) > absences, 10, "it is hung up on again")
        await_true(lambda: again("back"), 10, "it is taken up again")
        assert_no_message_is_endless(flooder, relay)
        assert topics.keys() == {b"status/edge1/a"} | {topic for topic in topics if topic.startswith(b"status/evil")}
    assert before.keys() == {b"status/edge1/a", b"status/evil/end"}
    assert len(relay.named("message_refused")) < 4
    assert "Traceback" not in relay.said
    publisher.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With keys of a box, a relay and a reader, and whom the box and the relay let in."""
    for name in ("box", "relay", "reader"):
        KeyPair.new(tmp_path / name)
    for clients in ("of-box", "of-relay"):
        (tmp_path / clients).mkdir()
    (tmp_path / "reader.key").rename(tmp_path / "of-relay" / "reader.key")
    return tmp_path


def test_keys_on_both_sides_and_a_box_that_lets_the_relay_in_later(launch: Any, folder: Path) -> None:
    publisher = Publisher(
        ["tcp://127.0.0.1:*"], curve=CurveServer.read(folder / "box.key_secret", folder / "of-box", Log())
    )
    say(publisher, TOPICS[0], TOPICS[0])
    (folder / "relay.toml").write_text(
        f"""
        key = "relay.key_secret"
        [[box]]
        connect = "{publisher.endpoints[0]}"
        server = "box.key"
        [publish]
        bind = ["tcp://127.0.0.1:*"]
        clients = "of-relay"
        """,
        encoding="utf-8",
    )
    relay: Program = launch("relay", "--config", "relay.toml")
    (address,) = relay.await_event("relaying")["endpoints"]
    assert "not among its clients" in relay.await_event("box_refused")["why"]
    notices: list[Notice] = []
    with (
        Subscriber(address, topics=["status/"], notice=notices.append) as stranger,
        Subscriber(
            address, topics=["status/"], key=folder / "reader.key_secret", server=str(folder / "relay.key")
        ) as reader,
    ):
        await_true(lambda: stranger.receive(0.02) or stranger.condition == "not allowed", 10, "refusal")
        (folder / "of-box" / "relay.key").write_text((folder / "relay.key").read_text(encoding="utf-8"))
        await_topics(reader, [publisher])
        assert stranger.receive(0.1) is None
        (folder / "of-relay" / "reader.key").unlink()
        (folder / "relay.toml").write_text("[[[", encoding="utf-8")
        relay.process.send_signal(signal.SIGHUP)
        assert relay.await_event("clients_removed", 10)["clients"] == ["reader"]
        relay.await_event("reloaded", 10)
        happened = [line["event"] for line in relay.events]
        assert happened.index("clients_removed") < happened.index("reloaded")  # by the signal, not by a look later
        await_true(lambda: reader.receive(0.02) is None and reader.condition == "not allowed", 10, "it is cut off")
    assert any(isinstance(notice, Link) and notice.state == "refused" for notice in notices)
    assert relay.await_event("client_refused")["refused"] >= 1
    assert relay.process.poll() is None
    publisher.close()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "box: none given"),
        (["--connect", "ipc://a"], "either publish.bind (--bind) or mqtt.url (--mqtt)"),
        (["--connect", "ipc://a", "--bind", "ipc://s", "--mqtt", "mqtt://h"], "either publish.bind"),
        (["--connect", "tcp://*:1", "--bind", "ipc://s"], "box.0.connect: 'tcp://*:1'"),
        (["--connect", "ipc://a", "--bind", "tcp://127.0.0.1:70000"], "70000"),
        (["--connect", "ipc://a", "--bind", "tcp://*:5600"], "is open to the network"),
        (["--connect", "ipc://a", "--mqtt", "http://h"], "mqtt.url: 'http://h'"),
        (["--connect", "ipc://a", "--mqtt", "mqtt://u:hunter2@h:99999"], "port must be"),
        (["--config", "nosuch.toml"], "nosuch.toml: cannot be read"),
    ],
)
def test_refused_arguments(arguments: list[str], named: str) -> None:
    told: dict[str, list[str]] = {"--config": [], "--connect": [], "--bind": [], "--mqtt": []}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        told[option].append(value)
    file, mqtt = (next(iter(told[option]), None) for option in ("--config", "--mqtt"))
    with pytest.raises(InvalidInputError) as refused:
        from_command_line(None if file is None else Path(file), told["--connect"], told["--bind"], mqtt)
    assert named in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_refused_command(run: Any) -> None:
    assert_refused(run("relay", "--connect", "ipc://a"), WRONG, "either publish.bind (--bind) or mqtt.url (--mqtt)")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("box = 3", "box"),
        ("[[box]]\nconect = 'ipc://a'", "box.0.conect: unknown key; did you mean connect?"),
        ("[[box]]\nconnect = 'ipc://a'\nserver = 'box.key'\n[publish]\nbind = ['ipc://s']", "key: is missing"),
        ("[[box]]\nconnect = 'ipc://a'\n[publish]\nbind = ['ipc://s']\nclients = '.'", "key: is missing"),
        ("key = 'nosuch'\n[[box]]\nconnect = 'ipc://a'\n[publish]\nbind = ['ipc://s']", "nosuch: cannot be read"),
    ],
)
def test_refused_configurations(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        relay(from_command_line(file, [], [], None), Log())
    assert named in str(refused.value)
