"""States and events of boxes at a real broker (Debian's mosquitto), read by a plain MQTT client."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from adainfd.wire.messages import Status
from adainfd.wire.serving.publisher import Publisher
from brokers import Beating, Broker, event_of, keeping, kept, state_of
from daemons import Program, await_true
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

Told = Callable[[str], Any]
AGREED = "hunter2 of the broker"


@contextlib.contextmanager
def reading(broker: Broker, **login: str) -> Iterator[Told]:
    """Ask for the latest payload under a topic; waits until there is one, of all that came with its `retain`."""
    heard: dict[str, tuple[Any, bool]] = {}
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if login:
        client.username_pw_set(**login)
    if broker.authority.exists():
        client.tls_set(str(broker.authority))

    def note(_: Any, __: Any, message: paho.MQTTMessage) -> None:
        text = message.payload.decode()
        heard[message.topic] = (json.loads(text) if text.startswith("{") else text), message.retain

    client.on_message = note
    client.on_connect = lambda connected, *_: connected.subscribe("#", qos=1)
    client.connect("localhost", broker.port)
    client.loop_start()

    def told(topic: str) -> Any:
        return await_true(lambda: heard.get(topic), 15, f"{topic} among {sorted(heard)}")

    try:
        yield told
    finally:
        client.disconnect()
        client.loop_stop()


def say(publisher: Publisher, state: Any, camera: str | None = None) -> None:
    topic = f"status/edge1/{camera}" if camera else "status/edge1"
    publisher.send(
        topic,
        lambda number: Status(host="edge1", camera=camera, sequence=number, state=state, published_at=1.0),
    )


@pytest.fixture
def box(ipc: str) -> Iterator[Publisher]:
    opened = Publisher([ipc])
    say(opened, "ready")
    say(opened, "online", "door")
    yield opened
    opened.close()


def await_greeted(box: Publisher, relay: Program) -> None:
    """Until the relay has asked the box for what it said last."""
    relay.await_event("box_connected", 20)
    await_true(lambda: box.resend_last() or box.resends_at or box._resend_from, 10, "the relay subscribes")


def test_states_are_retained_and_home_assistant_is_told(launch: Any, broker: Broker, box: Publisher, ipc: str) -> None:
    relay = launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    await_greeted(box, relay)
    name = relay.await_event("relaying")["name"]
    with reading(broker) as told:
        assert told("adainf/status/edge1/door")[0]["state"] == "online"
        assert told("homeassistant/binary_sensor/adainf_edge1_door/state/config")
    with reading(broker) as told:  # whoever comes late
        status, retained = told("adainf/status/edge1")
        assert (status["state"], status["schema"], retained) == ("ready", "adainf.status/1", True)
        assert told("adainf/available/edge1") == ("online", True)
        assert told(f"adainf/relay/{name}") == ("online", True)
        config, retained = told("homeassistant/binary_sensor/adainf_edge1_door/state/config")
        assert retained
        assert config["state_topic"] == "adainf/status/edge1/door"
        assert config["unique_id"] == "adainf_edge1_door_state"
        assert {entry["topic"] for entry in config["availability"]} == {
            f"adainf/relay/{name}",
            "adainf/available/edge1",
        }
        say(box, "offline", "door")
        say(box, "stopped")
        await_true(lambda: told("adainf/status/edge1/door")[0]["state"] == "offline", 10, "the camera is offline")
        await_true(lambda: told("adainf/available/edge1")[0] == "offline", 10, "the box has stopped")
        relay.process.send_signal(signal.SIGTERM)
        await_true(lambda: told(f"adainf/relay/{name}")[0] == "offline", 10, "the relay has gone")
    assert relay.ended(5) == 0
    assert "Traceback" not in relay.said


def happen(publisher: Publisher, event: Any, label: str, region: str | None = None) -> None:
    publisher.send("event/edge1/door", event_of("edge1", "door", region, label, event))


def test_events_are_told_once_and_what_is_there_is_retained(
    launch: Any, broker: Broker, box: Publisher, ipc: str
) -> None:
    happen(box, "appeared", "cat", "left")
    relay = launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    await_greeted(box, relay)
    with reading(broker) as told:
        assert told("adainf/present/edge1/door/left")[0] == {"labels": ["cat"]}
        for label in ("cat", "dog"):
            happen(box, "appeared", label)
        await_true(lambda: told("adainf/present/edge1/door")[0]["labels"] == ["dog", "cat"], 10, "both are there")
        event, retained = told("adainf/event/edge1/door")
        assert (event["event"], event["schema"], retained) == ("appeared", "adainf.event/1", False)
        happen(box, "gone", "dog")
        await_true(lambda: told("adainf/present/edge1/door")[0]["labels"] == ["cat"], 10, "one has gone")
        for name, topic in (("labels", "door"), ("labels_left", "door/left")):
            config = told(f"homeassistant/sensor/adainf_edge1_door/{name}/config")[0]
            assert config["state_topic"] == f"adainf/present/edge1/{topic}"


def test_relay_that_is_killed_is_offline(launch: Any, broker: Broker, box: Publisher, ipc: str) -> None:
    relay = launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    relay.await_event("broker_connected", 20)
    with reading(broker) as told:
        topic = f"adainf/relay/{relay.await_event('relaying')['name']}"
        await_true(lambda: told(topic)[0] == "online", 10, "the relay is there")
        relay.process.kill()
        await_true(lambda: told(topic)[0] == "offline", 10, "the broker says its last will")


def test_broker_that_is_restarted_is_told_again(launch: Any, broker: Broker, box: Publisher, ipc: str) -> None:
    relay = launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    await_greeted(box, relay)
    with reading(broker) as told:
        told("adainf/status/edge1/door")
    broker.kill()
    relay.await_event("broker_gone", 10)
    say(box, "stalled", "door")
    broker.start()
    with reading(broker) as told:
        await_true(lambda: told("adainf/status/edge1/door")[0]["state"] == "stalled", 10, "the state of meanwhile")
    assert len(relay.named("broker_connected")) == 2


def test_password_is_wanted_and_said_nowhere(
    launch: Any, mosquitto: str, tmp_path: Path, box: Publisher, ipc: str
) -> None:
    broker = Broker(mosquitto, tmp_path, password=AGREED)
    broker.start()
    try:
        file, password = tmp_path / "relay.toml", tmp_path / "password"
        file.write_text(
            f"""
            [[box]]
            connect = "{ipc}"
            [mqtt]
            url = "mqtt://127.0.0.1:{broker.port}"
            user = "adainf"
            password_file = "{password}"
            prefix = "boxes"
            discovery = ""
            """,
            encoding="utf-8",
        )
        password.write_text("wrong\n", encoding="utf-8")
        password.chmod(0o600)
        mistaken = launch("relay", "--config", file)
        assert "uthorized" in mistaken.await_event("broker_refused", 20)["why"]
        password.unlink()
        mistaken.process.send_signal(signal.SIGHUP)
        assert "password: cannot be read" in mistaken.await_event("reload_failed", 10)["why"]
        password.write_text(f"{AGREED}\n", encoding="utf-8")
        password.chmod(0o600)
        mistaken.process.send_signal(signal.SIGHUP)
        mistaken.await_event("reloaded", 10)
        await_greeted(box, mistaken)
        with reading(broker, username="adainf", password=AGREED) as told:
            assert told("boxes/status/edge1")[0]["state"] == "ready"
        assert AGREED not in mistaken.said
    finally:
        broker.kill()


def test_broker_that_wants_tls_and_a_password(
    launch: Any, mosquitto: str, tmp_path: Path, box: Publisher, ipc: str
) -> None:
    broker = Broker(mosquitto, tmp_path, password=AGREED, tls=True)
    broker.start()
    try:
        password, file = tmp_path / "password", tmp_path / "relay.toml"
        password.write_text(f"{AGREED}\n", encoding="utf-8")
        password.chmod(0o600)
        file.write_text(
            f"""
            [[box]]
            connect = "{ipc}"
            host = "edge1"
            [mqtt]
            url = "mqtts://localhost:{broker.port}"
            user = "adainf"
            password_file = "{password}"
            ca_file = "{broker.authority}"
            """,
            encoding="utf-8",
        )
        relay = launch("relay", "--config", file)
        await_greeted(box, relay)
        with reading(broker, username="adainf", password=AGREED) as told:
            assert told("adainf/status/edge1/door")[0]["state"] == "online"
            assert told("adainf/available/edge1")[0] == "online"
        assert not relay.named("broker_gone")
    finally:
        broker.kill()


def test_broker_that_is_not_there_is_waited_for(
    launch: Any, mosquitto: str, tmp_path: Path, box: Publisher, ipc: str
) -> None:
    broker = Broker(mosquitto, tmp_path)
    relay = launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
    assert relay.await_event("broker_absent", 20)["broker"] == f"mqtt://127.0.0.1:{broker.port}"
    await_greeted(box, relay)
    broker.start()
    try:
        with reading(broker) as told:
            told("adainf/status/edge1/door")
    finally:
        broker.kill()


def configured(file: Path, broker: Broker, *sockets: str) -> Path:
    told = [f'[[box]]\nconnect = "ipc://{file.parent}/{name}"' for name in sockets]
    file.write_text("\n".join([*told, f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n']), encoding="utf-8")
    return file


def test_what_nobody_vouches_for_is_cleared(
    launch: Any, broker: Broker, boxes: Callable[..., Beating], tmp_path: Path
) -> None:
    """Whoever is restarted: boxes, cameras, regions and labels that are gone leave nothing; what is others' stays."""
    door, left, yard = ("door", None), ("door", "left"), ("yard", None)
    first = boxes("a", "edge1", {door: ["cat", "dog"], left: ["cat"], yard: ["dog"]})
    removed = boxes("b", "edge2", {door: ["cat"]})
    file = configured(tmp_path / "relay.toml", broker, "a", "b")
    sensor, state = "homeassistant/sensor/adainf_edge1_", "homeassistant/binary_sensor/adainf_edge1_"
    foreign = {
        "homeassistant/sensor/adainf_edge1_yard/other/config": json.dumps({"origin": {"name": "another program"}}),
        "homeassistant/sensor/adainf_edge1_x/labels/config": json.dumps(
            {"origin": {"name": "adainfd relay"}, "state_topic": "another-prefix/present/edge1/x"}
        ),
        "adainf/status/lamp": "on",
        "adainf/status/edge1/lamp": json.dumps({"state": "on"}),
        "adainf/available/lamp": "online",
        "adainf/present/lamp/kitchen": "yes",
        "adainf/relay/another": "online",
        "adainf/relay/another/hosts": json.dumps({"hosts": ["edge3"], "boxes": ""}),
        "adainf/available/edge3": "online",
        "adainf/present/edge3/door": json.dumps({"labels": ["cat"]}),
    }
    nobodys = {"adainf/available/edge4": "online", "adainf/present/edge4/door": json.dumps({"labels": ["cat"]})}
    with keeping(broker) as (client, heard):
        for topic, payload in {**foreign, **nobodys}.items():
            client.publish(topic, payload, 1, retain=True)
        relay = launch("relay", "--config", file)
        expected = {f"adainf/present/edge1/{view}" for view in ("door", "door/left", "yard")}
        expected |= {f"adainf/available/{host}" for host in ("edge1", "edge2")} | {"adainf/present/edge2/door"}
        expected |= {f"{sensor}door/labels_left/config", f"{sensor}yard/labels/config", f"{state}yard/state/config"}
        await_true(lambda: expected <= kept(heard).keys(), 20, f"{expected} among {sorted(heard)}")
        relay.kill()
        for box in (first, removed):
            box.end()
        boxes("a", "edge1", {door: ["dog"]})
        launch("relay", "--config", configured(file, broker, "a"))
        now = {
            "adainf/present/edge1/door",
            "adainf/available/edge1",
            "adainf/status/edge1",
            "homeassistant/binary_sensor/adainf_edge1/state/config",
            f"{state}door/state/config",
            f"{sensor}door/labels/config",
        }
        now |= {topic for topic in foreign if "edge1" in topic}

        def differing() -> set[str]:
            return {topic for topic in kept(heard) if any(f"edge{number}" in topic for number in (1, 2, 4))} ^ now

        with contextlib.suppress(AssertionError):
            await_true(lambda: not differing(), 30, "nothing but what is there now")
        assert not differing()
        told = kept(heard)
    assert json.loads(told["adainf/present/edge1/door"]) == {"labels": ["dog"]}
    assert told["adainf/available/edge1"] == "online"
    assert foreign.items() <= told.items()


def test_heartbeats_are_told_when_more_than_counters_changes(
    launch: Any, broker: Broker, boxes: Callable[..., Beating], tmp_path: Path, ipc: str
) -> None:
    yard = {("yard", None): ["cat", "dog"]}
    box = boxes("s", "edge1", {("door", None): [], **yard})
    with keeping(broker) as (_, heard):
        launch("relay", "--connect", ipc, "--mqtt", f"mqtt://127.0.0.1:{broker.port}")
        await_true(lambda: heard.get("adainf/status/edge1"), 20, "the state")
        beats = box.beats
        await_true(lambda: box.beats > beats + 20, 10, "heartbeats")
        box.views = {("door", None): ["cat"], **yard}
        topic = "adainf/present/edge1/door"
        await_true(lambda: json.loads(heard.get(topic, ["{}"])[-1]) == {"labels": ["cat"]}, 10, "a label")
        assert len(heard["adainf/status/edge1"]) == 1
        box.state = "degraded"
        await_true(lambda: len(heard["adainf/status/edge1"]) == 2, 10, "the new state")
        assert heard["adainf/available/edge1"] == ["online"]
        assert [json.loads(told)["labels"] for told in heard["adainf/present/edge1/yard"]] == [["cat", "dog"]]


def test_states_are_retained_until_nobody_vouches_for_them(
    launch: Any, broker: Broker, boxes: Callable[..., Beating], tmp_path: Path
) -> None:
    """A change, one that the relay missed, a view that has states no more, and a relay that starts anew."""
    box = boxes("a", "edge1", {("gate", None): [], ("yard", "left"): []})
    file = configured(tmp_path / "relay.toml", broker, "a")
    with file.open("a", encoding="utf-8") as more:
        more.write('[mqtt.binary_sensors]\ngate = { device_class = "garage_door", on = "open" }\n')
    gate, left = "adainf/state/edge1/gate", "adainf/state/edge1/yard/left"
    box.changes += [state_of("edge1", "gate", None, "closed"), state_of("edge1", "yard", "left", None)]
    with keeping(broker) as (_, heard):

        def now(topic: str, state: str | None) -> Callable[[], bool]:
            return lambda: json.loads(kept(heard).get(topic, "{}")).get("state", "nothing") == state

        def entities() -> dict[str, dict[str, Any]]:
            told = [json.loads(payload) for topic, payload in kept(heard).items() if topic.endswith("/config")]
            return {entity["state_topic"]: entity for entity in told}

        relay = launch("relay", "--config", file)
        await_true(now(gate, "closed"), 20, "a state from before the relay")
        assert json.loads(kept(heard)[gate])["repeated"] is False, "it is news to a reader of the broker"
        await_true(now(left, None), 10, "a view that has none yet")
        box.changes.append(state_of("edge1", "gate", None, "open", 2, previous="closed", seconds=3.0))
        await_true(now(gate, "open"), 10, "a change")
        said = json.loads(kept(heard)[gate])
        assert (said["schema"], said["previous"], said["seconds"]) == ("adainf.state/1", "closed", 3.0)
        await_true(lambda: {gate, left} <= entities().keys(), 10, "both are announced")
        assert entities()[gate]["device_class"] == "garage_door"
        assert entities()[left]["options"] == ["closed", "open", "unknown"]
        assert {entry["topic"] for entry in entities()[gate]["availability"]} >= {"adainf/available/edge1"}
        box.states["gate", None] = "unknown"
        await_true(now(gate, "unknown"), 10, "a change that only a heartbeat told")
        relay.kill()
        del box.states["yard", "left"]
        launch("relay", "--config", file)
        await_true(lambda: left not in kept(heard) and left not in entities(), 20, "it has states no more")
        assert json.loads(kept(heard)[gate])["state"] == "unknown"
        assert entities()[gate]["device_class"] == "garage_door"
        assert "adainf/present/edge1/yard/left" in kept(heard)


def test_silent_box_keeps_what_it_said(
    launch: Any, broker: Broker, boxes: Callable[..., Beating], tmp_path: Path
) -> None:
    """While the relay runs, all of it; one that starts meanwhile does not tell of labels that nobody vouches for."""
    box = boxes("a", "edge1", {("door", None): ["cat"]})
    file = configured(tmp_path / "relay.toml", broker, "a")
    with keeping(broker) as (_, heard):
        relay = launch("relay", "--config", file)
        last = "homeassistant/sensor/adainf_edge1_door/labels/config"
        await_true(lambda: last in kept(heard), 20, "all of it")
        all_of_it = {topic for topic in kept(heard) if "/relay/" not in topic}
        box.end()
        await_true(lambda: kept(heard)["adainf/available/edge1"] == "offline", 15, "no heart beats")
        assert {topic for topic in kept(heard) if "/relay/" not in topic} == all_of_it
        assert relay.named("box_silent")[0]["host"] == "edge1"
        relay.kill()
        launch("relay", "--config", file)
        await_true(lambda: "adainf/present/edge1/door" not in kept(heard), 20, "no label")
        told = {topic for topic in kept(heard) if "/relay/" not in topic}
    assert told == all_of_it - {"adainf/present/edge1/door"}


def test_relays_of_one_host_leave_each_other_alone(
    launch: Any, broker: Broker, boxes: Callable[..., Beating], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        boxes(name, f"edge-{name}", {("door", None): []})
    relays = {name: launch("relay", "--config", configured(tmp_path / f"{name}.toml", broker, name)) for name in "ab"}
    twin = launch("relay", "--config", tmp_path / "a.toml")
    with keeping(broker) as (_, heard):
        names = {name: relay.await_event("relaying", 20)["name"] for name, relay in relays.items()}
        for relay in relays.values():  # the twin may be online first, and speak for the other
            relay.await_event("broker_connected", 20)
        online = {f"adainf/{kind}" for kind in ("available/edge-a", "available/edge-b")}
        online |= {f"adainf/relay/{name}" for name in names.values()}
        await_true(lambda: all(kept(heard).get(topic) == "online" for topic in online), 20, "all are online")
        assert len(set(names.values())) == 2
        relays["b"].kill()
        gone = f"adainf/relay/{names['b']}"
        await_true(lambda: kept(heard)[gone] == "offline", 10, "the last will")
        assert {topic for topic in online if kept(heard)[topic] != "online"} == {gone}
        twin.await_event("broker_connected", 20)
        relays["a"].process.send_signal(signal.SIGTERM)
        assert relays["a"].ended(5) == 0
        await_true(lambda: "offline" in heard[f"adainf/relay/{names['a']}"], 10, "one of two has gone")
        for topic in ("adainf/available/edge-a", f"adainf/relay/{names['a']}"):
            await_true(lambda topic=topic: kept(heard)[topic] == "online", 10, "the other one still speaks for it")
    for relay in (*relays.values(), twin):
        assert len(relay.named("broker_connected")) == 1
        assert not relay.named("broker_gone")
