"""What stays retained at a real broker, and for how long: while a box's heartbeats, or a relay, vouch for it."""

import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from brokers import Beating, Broker, keeping, kept, state_of
from daemons import await_true


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
