"""What Home Assistant knows a thing by: different things differ, and what was known before keeps its identifier."""

import itertools
import json

import jinja2
import pytest
from adainfd.relaying.config import BinarySection
from adainfd.relaying.mqtt.homeassistant import entities, entity_id, state_entities, state_topic
from adainfd.relaying.mqtt.relays import Relays
from adainfd.relaying.mqtt.retained import Retained
from adainfd.relaying.mqtt.topics import Topics
from adainfd.wire.messages import State
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

TOPICS = Topics("adainf", "relay")
Named = tuple[str, str | None, bool, str | None]

Place = tuple[str, str, str | None]


@st.composite
def alike(draw: st.DrawFn) -> list[Place]:
    """Hosts, cameras and regions that are alike once characters are replaced and names joined: the same words, cut and
    joined otherwise; some imitate an identifier."""
    words = draw(st.lists(st.sampled_from(["a", "labels", "state", "--0a1b2c3d", "-"]), min_size=2, max_size=5))
    places: list[Place] = []
    for _ in range(draw(st.integers(2, 5))):
        cuts = draw(st.lists(st.integers(1, len(words) - 1), min_size=1, max_size=2, unique=True).map(sorted))
        ends = [0, *cuts, len(words)]
        names = []
        for start, end in itertools.pairwise(ends):
            name = words[start]
            for word in words[start + 1 : end]:
                name += draw(st.sampled_from("_.")) + word
            names.append(name)
        region = draw(st.none() | st.just(names[-1])) if len(names) == 2 else names[2]
        places.append((names[0], names[1], region))
    return places


def a_state(host: str, camera: str, region: str | None, *options: str) -> State:
    return State(
        host=host, camera=camera, region=region, sequence=1, published_at=1.0, state=None, options=list(options)
    )


def known(host: str, camera: str, region: str | None) -> list[tuple[Named, str, dict[str, object]]]:
    """The entities of a box with a camera and a view: which thing each is, its topic, and what it says."""
    things: list[Named] = [(host, None, False, None), (host, camera, False, None), (host, camera, True, region)]
    told = [*entities(TOPICS, "homeassistant", host, [camera], [(camera, region)])]
    things.append((host, f"state of {camera}", True, region))
    told += state_entities(TOPICS, "homeassistant", host, {(camera, region): a_state(host, camera, region)}, {})
    return [(thing, topic, json.loads(payload)) for thing, (topic, payload) in zip(things, told, strict=True)]


@generous(200)
@given(alike())
def test_different_things_have_different_identifiers(places: list[Place]) -> None:
    found = list(itertools.chain.from_iterable(known(*place) for place in places))
    for what in ("topic", "unique_id", "device"):
        things: dict[str, Named] = {}
        for thing, topic, said in found:
            device = said["device"]
            assert isinstance(device, dict)
            key = {"topic": topic, "unique_id": str(said["unique_id"]), "device": device["identifiers"][0]}[what]
            camera = None if thing[1] is None else thing[1].removeprefix("state of ")
            shown = (thing[0], camera, False, None) if what == "device" else thing
            assert things.setdefault(key, shown) == shown


@pytest.mark.parametrize(
    ("thing", "identifier"),
    [
        (("edge1", None, False, None), "adainf_edge1_state"),
        (("edge-1", "door", False, None), "adainf_edge-1_door_state"),
        (("edge1", "front_door", False, None), "adainf_edge1_front_door_state"),
        (("edge1", "front_door", True, None), "adainf_edge1_front_door_labels"),
        (("edge1", "door", True, "left_half"), "adainf_edge1_door_labels_left_half"),
    ],
)
def test_what_was_unambiguous_keeps_its_identifier(thing: Named, identifier: str) -> None:
    host, camera, labels, region = thing
    assert entity_id(host, camera, labels=labels, region=region) == identifier


@pytest.mark.parametrize(
    "thing", [("edge1", "front.door", False, None), ("a_b", "c", False, None), ("edge1", "door", True, "left.half")]
)
def test_what_was_ambiguous_has_one_of_its_own(thing: Named) -> None:
    host, camera, labels, region = thing
    assert "--" in entity_id(host, camera, labels=labels, region=region)


@pytest.mark.parametrize(
    ("options", "on", "expected"),
    [
        (["closed", "open", "unknown"], "open", ("binary_sensor", "open", "closed")),
        (["open", "closed", "unknown"], "open", ("binary_sensor", "open", "closed")),
        (["closed", "open", "unknown"], "ajar", ("sensor", None, None)),
        (["ajar", "closed", "open", "unknown"], "open", ("sensor", None, None)),
        (["open", "unknown"], "open", ("sensor", None, None)),
        (["closed", "open", "unknown"], None, ("sensor", None, None)),
    ],
)
def test_a_view_with_two_states_of_which_one_is_on_is_a_binary_sensor(
    options: list[str], on: str | None, expected: tuple[str, str | None, str | None]
) -> None:
    sections = {} if on is None else {"gate/left": BinarySection(device_class="door", on=on)}
    state = a_state("edge1", "gate", "left", *options)
    ((topic, payload),) = state_entities(TOPICS, "homeassistant", "edge1", {("gate", "left"): state}, sections)
    said = json.loads(payload)
    assert (topic.split("/")[1], said.get("payload_on"), said.get("payload_off")) == expected
    assert said["device_class"] == ("enum" if expected[0] == "sensor" else "door")
    assert said.get("options") == (options if expected[0] == "sensor" else None)


@pytest.mark.parametrize("on", ["open", None])
def test_a_state_is_what_home_assistant_knows_or_none(on: str | None) -> None:
    sections = {} if on is None else {"gate": BinarySection(device_class="door", on=on)}
    state = a_state("edge1", "gate", None, "{{ 7 * 7 }}", "open", "unknown", *(["x" * 300] if on is None else []))
    ((_, payload),) = state_entities(TOPICS, "homeassistant", "edge1", {("gate", None): state}, sections)
    said = json.loads(payload)
    known = said.get("options") or [said["payload_on"], said["payload_off"], "None"]
    template = jinja2.Environment(autoescape=False).from_string(said["value_template"])  # noqa: S701
    for option in (*state.options, None):
        shown = template.render(value_json={"state": option})
        assert shown in known or (shown, option) == ("None", None)
        assert shown == {"unknown": "unknown" if on is None else "None", None: "None"}.get(option, option)[:255]


def test_own_entities_are_told_from_others() -> None:
    _, payload = next(entities(TOPICS, "homeassistant", "edge1", [], []))
    assert state_topic(payload) == "adainf/status/edge1"
    for other in (b"", b"offline", b"[1]", b'{"origin": "adainfd relay"}', b'{"state_topic": "adainf/status/edge1"}'):
        assert state_topic(other) is None
    other = payload.replace(b"adainfd relay", b"another program")
    assert state_topic(other) is None


@generous(200)
@given(
    st.binary(max_size=20)
    | st.text(max_size=20).map(str.encode)
    | st.builds(
        lambda more: b'{"origin": {"name": "adainfd relay"}, "state_topic": ' + more + b"}", st.binary(max_size=9)
    )
    | st.just(b"[" * 10000),
    st.lists(st.text("ab/+#.", max_size=4) | st.sampled_from(["status", "present", "available", "relay", "hosts"])),
)
def test_whatever_others_keep_at_the_broker_is_left_alone(payload: bytes, levels: list[str]) -> None:
    topic = "/".join(["adainf", *levels])
    retained, relays = Retained(TOPICS), Relays(TOPICS, [])
    retained.found(topic, payload)
    relays.heard(topic, payload, retained=True)
    for host in retained.hosts:
        for kept, place in retained.of(host).items():
            assert kept == topic
            assert "/".join(filter(None, ("adainf", *place))) == topic


def test_entity_that_took_the_place_of_another_hosts_stays() -> None:
    """Versions before this one gave camera c of host a_b and camera b_c of host a the same topic."""
    retained = Retained(TOPICS)
    (*_, (topic, payload)) = entities(TOPICS, "homeassistant", "a", ["b_c"], [])
    retained.found(topic, payload.replace(b"adainf/status/a/b_c", b"adainf/status/a_b/c"))
    assert list(retained.of("a_b")) == [topic]
    retained.keep(topic, payload)
    assert (retained.of("a_b"), list(retained.of("a"))) == ({}, [topic])
