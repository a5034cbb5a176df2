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
from brokers import Broker, event_of
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
