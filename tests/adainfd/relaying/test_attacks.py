"""A box, or a stranger at the broker, that wants to harm the others: neither ends, stalls or fills a relay."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from adainfd.wire.messages import MOST_CAMERAS, Account, Dropped, Status
from brokers import Attacker, Beating, Broker, a_status, event_of, keeping, kept
from daemons import Program, await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

Heard = dict[str, list[str]]
Boxes = Callable[..., Beating]
DOOR = ("door", None)
ACCOUNT = Account("online", 0, 0, 0, 0, Dropped(0, 0), 0)
MEGABYTES = 120
"""Of a relay that is told as much as it takes."""


def file_of(folder: Path, broker: Broker, *, evil: str = "", good: str = "") -> Path:
    file = folder / "relay.toml"
    boxes = f'[[box]]\nconnect = "ipc://{folder}/evil"\n{evil}\n[[box]]\nconnect = "ipc://{folder}/good"\n{good}\n'
    file.write_text(f'{boxes}[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n', encoding="utf-8")
    return file


def assert_passes_on(relay: Program, box: Beating, heard: Heard) -> None:
    """What the honest box says now reaches the broker."""
    assert relay.process.poll() is None, relay.said
    before = len(heard.get("adainf/event/edge1/door", []))
    state = "degraded" if box.state == "ready" else "ready"
    box.state, box.happens = state, True
    await_true(lambda: json.loads(heard["adainf/status/edge1"][-1])["state"] == state, 10, "its status")
    await_true(lambda: len(heard.get("adainf/event/edge1/door", [])) > before, 10, "its event")


def marked(relay: Program, attacker: Attacker, heard: Heard, number: int) -> None:
    """Until all that the attacker has sent was read: its event of now is at the broker.

    Said until it is heard: where the attacker was hung up on, libzmq drops what it says.
    """
    told = event_of("evil", "end", None, f"end {number}")(number)
    beat = a_status("evil", cameras={"end": ACCOUNT}, present=[], started_at=told.started_at)
    sends_at = 0.0

    def read() -> bool:
        nonlocal sends_at
        assert relay.process.poll() is None, relay.said
        if time.monotonic() >= sends_at:
            attacker.send("status/evil", beat)  # it has so many cameras, that one among them
            attacker.send("event/evil/end", told)
            sends_at = time.monotonic() + 1.0
        return f"end {number}" in "".join(heard.get("adainf/event/evil/end", []))

    await_true(read, 120, "all was read")


STRANGE = [
    ("status/" + "h" * 70_000, a_status("h" * 70_000)),
    ("status/evil/" + "c" * 70_000, a_status("evil", "c" * 70_000)),
    ("status/evil", a_status("evil", sequence=2**63)),
    ("status/evil", a_status("evil", started_at=1e300)),
    ("status/evil", a_status("evil", detail="x" * 100_000)),
    ("status/evil", a_status("evil", state="possessed")),
    ("status/evil/a+b", a_status("evil", "a+b")),
    ("status/evil/#", a_status("evil", "#")),
    ("status/evil\n", a_status("evil\n")),
    ("status/evil\0", a_status("evil\0")),
    ("status/evil", b'{"host":"evil","x":' + b"[" * 100_000),
    ("status/evil", b'{"host":"evil","sequence":' + b"9" * 100_000 + b"}"),
    ("status/evil", b"\x91" * 100_000),
    ("status/evil", msgspec.msgpack.encode(a_status("evil", published_at=float("nan")))),
    ("event/evil", a_status("evil")),
    ("event/evil/door", a_status("evil", "door")),
    ("status/evil/yard", a_status("evil", "door")),
    ("status/evil", a_status("edge1", state="stopped")),
    (b"status/\xff\xfe", b"{}"),
    (b"status/", b""),
]


def test_a_box_neither_ends_the_relay_nor_speaks_as_another_nor_fills_the_broker(
    launch: Any, broker: Broker, boxes: Boxes, attacker: Attacker, tmp_path: Path
) -> None:
    good = boxes("good", "edge1", {DOOR: ["cat"]})
    with keeping(broker) as (_, heard):
        relay = launch("relay", "--config", file_of(tmp_path, broker))
        attacker.await_subscribed()
        await_true(lambda: "adainf/status/edge1" in heard, 20, "the honest box")
        attacker.send("status/evil", a_status("evil", cameras={}, present=[]))
        await_true(lambda: "adainf/status/evil" in heard, 10, "the name that binds")
        for topic, body in STRANGE:
            attacker.send(topic, body)
        attacker.send("status/edge1", a_status("edge1", state="stopped", started_at=99.0))
        attacker.send("status/edge1/door", a_status("edge1", "door", state="offline"))
        attacker.send("status/victim", a_status("victim", state="stopped"))
        marked(relay, attacker, heard, 1)
        assert relay.named("message_refused")[0]["why"].startswith("speaks as 'edge1', and has been evil")
        for number in range(3000):
            attacker.send(f"status/evil/c{number}", a_status("evil", f"c{number}"))
            attacker.send(f"event/evil/e{number}", event_of("evil", f"e{number}", None, "cat")(1))
        for round_ in range(10):  # each heart beat with cameras of its own
            cameras = {f"r{round_}-{number}": ACCOUNT for number in range(MOST_CAMERAS)}
            attacker.send("status/evil", a_status("evil", cameras=cameras, started_at=float(round_)))
        for size in (1000, 3000):  # too many, and too long: then the relay hangs up
            attacker.send("status/evil", a_status("evil", cameras={f"x{n}": ACCOUNT for n in range(size)}))
        marked(relay, attacker, heard, 2)
        assert_passes_on(relay, good, heard)
        assert set(heard["adainf/available/edge1"]) == {"online"}
        assert not {topic for topic in heard if "victim" in topic or "+" in topic or "#" in topic}
        assert json.loads(kept(heard)["adainf/present/edge1/door"])["labels"][0] == "cat"
        assert len([topic for topic in kept(heard) if "evil" in topic]) < 8 * MOST_CAMERAS * 4
        assert len(relay.events) < 60, "said once in a while"
        for event in ("message_refused", "message_unreadable"):
            assert 1 <= len(relay.named(event)) < 4, "at once, and then once a minute"
    assert "Traceback" not in relay.said


def test_a_box_that_never_ends_takes_nothing_from_the_others(
    launch: Any, broker: Broker, boxes: Boxes, flooder: Attacker, tmp_path: Path
) -> None:
    """It says as fast as it can that all of its cameras have changed; so does what is no message at all."""
    good = boxes("good", "edge1", {DOOR: []})
    over = threading.Event()
    account = {state: Account(state, 0, 0, 0, 0, Dropped(0, 0), 0) for state in ("online", "offline")}  # type: ignore[arg-type]
    floods = [
        (b"status/evil", msgspec.json.encode(a_status("evil", cameras={f"c{n}": account[state] for n in range(200)})))
        for state in account
    ]
    floods += [(b"status/evil/c1", msgspec.json.encode(a_status("evil", "c1", state=state))) for state in account]
    floods += [(b"event/evil/c1", msgspec.json.encode(event_of("evil", "c1", None, "cat")(1))), (b"status/x", b"{")]

    floods += [(b"status/x", b"{"), (b"status/evil", b"\x91" * 900)] * 20
    rounds = iter(range(1 << 60))

    def flood() -> None:
        while not over.is_set():
            next(rounds)
            for topic, body in floods:
                flooder.send(topic, body)

    with keeping(broker) as (_, heard):
        relay = launch("relay", "--config", file_of(tmp_path, broker, evil='host = "evil"'))
        flooder.await_subscribed()
        await_true(lambda: "adainf/status/edge1" in heard, 20, "the honest box")
        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            await_true(lambda: relay.named("message_unreadable") and next(rounds) > 100, 20, "it has begun")
            for _ in range(2):
                assert_passes_on(relay, good, heard)
            good.end()
            await_true(lambda: heard["adainf/available/edge1"][-1] == "offline", 15, "who falls silent is noticed")
        finally:
            over.set()
            flooding.join()
        assert relay.megabytes() < MEGABYTES
    assert "Traceback" not in relay.said


def test_what_strangers_keep_at_the_broker_stays_and_harms_nobody(
    launch: Any, broker: Broker, boxes: Boxes, tmp_path: Path
) -> None:
    """Thousands of entities of other programs, absurd records of relays, ours too, and packets too large to take."""
    good = boxes("good", "edge1", {DOOR: []})
    boxes("evil", "edge2", {DOOR: []})
    ours = json.dumps({"origin": {"name": "adainfd relay"}, "state_topic": "adainf/status/ghost"})
    foreign = {f"homeassistant/sensor/other{n}/state/config": json.dumps({"name": "x" * n}) for n in range(2000)}
    foreign |= {
        "homeassistant/switch/adainf_ghost/state/config": ours,
        "homeassistant/sensor/zigbee/temperature/config": ours,
        "adainf/relay/another/nothing/config": ours,
        "adainf/status/huge": '"' + "x" * 3_000_000 + '"',
        "adainf/relay/absurd": "online",
        "adainf/relay/absurd/hosts": json.dumps({"hosts": ["edge1", "a/b#", "x" * 70_000], "boxes": ""}),
        "adainf/relay/many/hosts": json.dumps({"hosts": [f"h{n}" for n in range(50_000)], "boxes": ""}),
        "adainf/relay/" + "n" * 5000: "online",
        "adainf/relay/deep/hosts": "[" * 100_000,
        "adainf/available/" + "h" * 5000: "online",
    }
    foreign |= {f"adainf/relay/r{n}/hosts": json.dumps({"hosts": [f"h{n}"], "boxes": ""}) for n in range(400)}
    file = file_of(tmp_path, broker)
    with keeping(broker) as (client, heard):
        relay = launch("relay", "--config", file)
        name = relay.await_event("relaying")["name"]
        relay.kill()
        told = {"hosts": [f"x{n}" for n in range(9000)], "boxes": "x" * 99}
        record = {f"adainf/relay/{name}/hosts": json.dumps(told)}
        for topic, payload in {**foreign, **record}.items():
            client.publish(topic, payload, 1, retain=True)
        await_true(lambda: foreign.keys() <= kept(heard).keys(), 30, "the broker keeps them")
        relay = launch("relay", "--config", file)
        await_true(lambda: "adainf/status/edge1" in heard, 20, "the honest box")
        assert_passes_on(relay, good, heard)
        for _ in range(300):
            client.publish("adainf/available/edge1", "offline", 1, retain=True)
        available = heard["adainf/available/edge1"]
        await_true(lambda: available.count("offline") >= 300 and available[-1] == "online", 10, "it is set right")
        both = ["edge1", "edge2"]
        await_true(lambda: json.loads(heard[next(iter(record))][-1])["hosts"] == both, 10, "its record")
        assert foreign.items() <= kept(heard).items()
        assert relay.megabytes() < MEGABYTES
    assert not relay.named("broker_gone")
    assert "Traceback" not in relay.said


words = st.sampled_from(
    ["status", "event", "result", "evil", "edge1", "door", "", "#", "+", "x" * 300, "é", "\0", "\n"]
)
topics = st.lists(words, min_size=1, max_size=4).map("/".join) | st.sampled_from(["status/evil", "status/evil/door"])
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8) | words
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)
names = sorted({*Status.__struct_fields__, "region", "event", "label", "first", "schema"})
bodies = st.binary(max_size=60) | st.builds(
    lambda changes, packed: _packed({**a_status("evil"), **changes}, packed),
    st.dictionaries(st.sampled_from(names), trees, max_size=3),
    st.booleans(),
)


def _packed(tree: dict[str, Any], packed: bool) -> bytes:
    try:
        return (msgspec.msgpack if packed else msgspec.json).encode(tree)
    except (OverflowError, ValueError, UnicodeEncodeError):
        return b"{" * 50


@pytest.mark.generated
def test_malformed_messages_of_a_box(
    launch: Any, broker: Broker, boxes: Boxes, attacker: Attacker, tmp_path: Path
) -> None:
    good = boxes("good", "edge1", {DOOR: []})
    sent = 0
    with keeping(broker) as (_, heard):
        relay = launch("relay", "--config", file_of(tmp_path, broker, evil='host = "evil"', good='host = "edge1"'))
        attacker.await_subscribed()
        await_true(lambda: "adainf/status/edge1" in heard, 20, "the honest box")

        @generous(300)
        @given(st.lists(st.tuples(topics, bodies), min_size=1, max_size=5))
        def attack(messages: list[tuple[str, bytes]]) -> None:
            nonlocal sent
            for topic, body in messages:
                attacker.send(topic.encode(), body)
            sent += len(messages)
            if sent % 5000 < len(messages):
                marked(relay, attacker, heard, sent)
                assert_passes_on(relay, good, heard)

        attack()
        marked(relay, attacker, heard, sent)
        assert_passes_on(relay, good, heard)
        assert relay.megabytes() < MEGABYTES
        assert not {topic for topic in heard if topic.startswith("adainf/status/") and "/e" not in topic}
    assert "Traceback" not in relay.said


kinds = st.sampled_from(["status", "present", "available", "relay", "event"])
kept_topics = st.builds(
    lambda prefix, rest: "/".join([prefix, *rest]),
    st.sampled_from(["adainf", "homeassistant/sensor/adainf_edge1_door", "homeassistant/sensor/x"]),
    st.lists(kinds | st.sampled_from(["edge1", "ghost", "hosts", "config", "state", "", "é"]), max_size=4),
)


@pytest.mark.generated
def test_whatever_strangers_publish_at_the_broker(launch: Any, broker: Broker, boxes: Boxes, tmp_path: Path) -> None:
    good = boxes("good", "edge1", {DOOR: []})
    boxes("evil", "edge2", {DOOR: []})
    done = 0
    with keeping(broker) as (client, heard):
        relay = launch("relay", "--config", file_of(tmp_path, broker))
        await_true(lambda: "adainf/status/edge1" in heard, 20, "the honest box")

        @generous(300)
        @given(kept_topics, st.binary(max_size=60) | bodies | st.sampled_from([b"online", b"offline"]), st.booleans())
        def attack(topic: str, payload: bytes, retain: bool) -> None:
            nonlocal done
            if topic in ("adainf/status/edge1", "adainf/event/edge1"):
                return
            sent = client.publish(topic, payload, 1, retain=retain)
            done += 1
            if done % 500 == 0:
                await_true(sent.is_published, 60, "the broker has it")

        with contextlib.suppress(UnicodeDecodeError):
            attack()
        assert_passes_on(relay, good, heard)
        assert relay.megabytes() < MEGABYTES
    assert "Traceback" not in relay.said
