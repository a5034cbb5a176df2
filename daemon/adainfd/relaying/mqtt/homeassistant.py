"""Messages for Home Assistant's MQTT discovery, by which it finds boxes and cameras by itself.
https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from adainf.classes.labels import UNKNOWN
from adainfd.relaying.config import BinarySection
from adainfd.relaying.mqtt.topics import Topics
from adainfd.wire.messages import State

__all__ = ["OFFLINE", "ONLINE", "entities", "entity_id", "is_discovery", "state_entities", "state_topic"]

ONLINE, OFFLINE = b"online", b"offline"
_ORIGIN = "adainfd relay"
_LONGEST_STATE = 255
"""Home Assistant rejects a longer state."""
_GOOD_STATES = "['ready', 'degraded', 'reloaded', 'reload_failed']"
# Discovery accepts letters, digits, "_" and "-". An identifier is the names joined by "_", as long as that is
# unambiguous: no other character, no "_" in the host, no "_labels" in the camera, nothing that looks like a digest.
_DIGEST = r"--[0-9a-f]{8}"
_PLAIN = tuple(re.compile(rf"(?!.*{_DIGEST}){pattern}") for pattern in ("[A-Za-z0-9-]+", "(?!.*_labels)[A-Za-z0-9_-]+"))
_PLAIN_REGION = re.compile(rf"(?!.*{_DIGEST})[A-Za-z0-9_-]+")


def entities(
    topics: Topics, prefix: str, host: str, cameras: Iterable[str], views: Iterable[tuple[str, str | None]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the topics and retained payloads that announce a box, its cameras and views; none without a prefix."""
    if not prefix:
        return
    yield _state(topics, prefix, host, None)
    for camera in cameras:
        yield _state(topics, prefix, host, camera)
    for camera, region in views:
        yield _labels(topics, prefix, host, camera, region)


def state_entities(
    topics: Topics,
    prefix: str,
    host: str,
    states: Mapping[tuple[str, str | None], State],
    binary_sensors: Mapping[str, BinarySection],
) -> Iterator[tuple[str, bytes]]:
    """Yield the topics and retained payloads that announce the states of views; none without a prefix.

    binary_sensors: the views, by CAMERA or CAMERA/REGION, that are binary sensors where they have two states.
    """
    if not prefix:
        return
    for (camera, region), state in states.items():
        topic = topics.state(host, camera, region)
        named = {"name": f"State {region or ''}".strip(), "state_topic": topic, "json_attributes_topic": topic}
        section = binary_sensors.get(camera if region is None else f"{camera}/{region}")
        component, settings = _binary(state.options, section) or _enum(state.options)
        entity = _state_entity(host, camera, region)
        yield _described(component, topics, prefix, (host, camera), entity, {**named, **settings})


def state_topic(payload: bytes) -> str | None:
    """Return the state topic of an entity that a relay has made; None for other programs' entities."""
    try:
        entity = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return None
    origin = entity.get("origin") if isinstance(entity, dict) else None
    if not isinstance(origin, dict) or origin.get("name") != _ORIGIN:
        return None
    topic = entity.get("state_topic")
    return topic if isinstance(topic, str) else None


def is_discovery(topic: str, prefix: str) -> bool:
    """Return whether a relay may have made the entity at this topic; all other topics are other programs'."""
    components = "|".join(("binary_sensor", "sensor"))
    pattern = rf"{re.escape(prefix)}/(?:{components})/adainf_[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/config"
    return bool(prefix) and re.fullmatch(pattern, topic) is not None


def entity_id(host: str, camera: str | None = None, *, labels: bool = False, region: str | None = None) -> str:
    """Return the unique identifier of a box's or camera's state, or of the labels in a camera's view."""
    device, entity = _device(host, camera), _entity(host, camera, region, labels=labels)
    return f"{device}_{entity}"


def _state(topics: Topics, prefix: str, host: str, camera: str | None) -> tuple[str, bytes]:
    """Return a binary sensor that is on while the box recognises, or while the camera delivers pictures."""
    good = "['online']" if camera else _GOOD_STATES
    return _described(
        "binary_sensor",
        topics,
        prefix,
        (host, camera),
        _entity(host, camera, None, labels=False),
        {
            "name": "Online" if camera else "Running",
            "device_class": "connectivity" if camera else "running",
            "state_topic": topics.status(host, camera),
            "value_template": f"{{{{ 'ON' if value_json.state in {good} else 'OFF' }}}}",
            "json_attributes_topic": topics.status(host, camera),
        },
    )


def _labels(topics: Topics, prefix: str, host: str, camera: str, region: str | None) -> tuple[str, bytes]:
    """Return a sensor of the labels present in a region or in the whole picture."""
    return _described(
        "sensor",
        topics,
        prefix,
        (host, camera),
        _entity(host, camera, region, labels=True),
        {
            "name": f"Labels {region or ''}".strip(),
            "icon": "mdi:eye",
            "state_topic": topics.present(host, camera, region),
            "value_template": f"{{{{ (value_json.labels | join(', ') or 'none')[:{_LONGEST_STATE}] }}}}",
        },
    )


def _binary(options: Iterable[str], section: BinarySection | None) -> tuple[str, dict[str, Any]] | None:
    """Return the settings of a binary sensor; None where there is no section for it, or not two states of which one
    is `on`. Its template holds neither label: a label would be run as part of it.
    """
    if section is None or section.on not in options:
        return None
    match [option for option in options if option not in (UNKNOWN, section.on)]:
        case [off]:
            return "binary_sensor", {
                "device_class": section.device_class,
                "payload_on": section.on,
                "payload_off": off,
                "value_template": f"{{{{ 'None' if value_json.state in (none, '{UNKNOWN}') else value_json.state }}}}",
            }
    return None


def _enum(options: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the settings of a sensor whose value is one of `options`."""
    allowed = list(dict.fromkeys(option[:_LONGEST_STATE] for option in options))
    return "sensor", {
        "icon": "mdi:eye-check",
        **({"device_class": "enum", "options": allowed} if allowed else {}),
        "value_template": f"{{{{ (value_json.state or 'None')[:{_LONGEST_STATE}] }}}}",
    }


def _described(
    component: str, topics: Topics, prefix: str, of: tuple[str, str | None], entity: str, settings: dict[str, Any]
) -> tuple[str, bytes]:
    host, camera = of
    identity = _device(host, camera)
    device: dict[str, Any] = {
        "identifiers": [identity],
        "name": " ".join(filter(None, of)),
        "manufacturer": "adainf",
    }
    if camera is not None:
        device["via_device"] = _device(host, None)
    payload = {
        **settings,
        "unique_id": f"{identity}_{entity}",
        "device": device,
        "availability": [{"topic": topics.relay}, {"topic": topics.available(host)}],
        "availability_mode": "all",
        "origin": {"name": _ORIGIN},
    }
    return f"{prefix}/{component}/{identity}/{entity}/config", msgspec.json.encode(payload)


def _device(host: str, camera: str | None) -> str:
    names = [name for name in (host, camera) if name is not None]
    joined = "_".join(["adainf", *map(_replaced, names)])
    plain = all(pattern.fullmatch(name) for pattern, name in zip(_PLAIN, names, strict=False))
    return joined if plain else f"{joined}{_digest(*names)}"


def _entity(host: str, camera: str | None, region: str | None, *, labels: bool) -> str:
    if not labels:
        return "state"
    if region is None:
        return "labels"
    digest = "" if _PLAIN_REGION.fullmatch(region) else _digest(host, camera or "", region)
    return f"labels_{_replaced(region)}{digest}"


def _state_entity(host: str, camera: str, region: str | None) -> str:
    """Return the identifier of a view's state, always with a digest: any other could be that of a camera's state."""
    names = (host, camera) if region is None else (host, camera, region)
    return "_".join(["answer", *([] if region is None else [_replaced(region)])]) + _digest(*names)


def _replaced(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", name)


def _digest(*names: str) -> str:
    """Return a suffix that distinguishes names which look the same once their characters are replaced."""
    return "--" + hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
