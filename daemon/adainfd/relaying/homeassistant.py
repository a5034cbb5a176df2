"""Home Assistant finds the boxes and their cameras by itself: what its MQTT discovery wants to be told.

https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from adainfd.relaying.topics import Topics
from adainfd.wire.messages import Event, Message, Status

__all__ = ["OFFLINE", "ONLINE", "devices"]

ONLINE, OFFLINE = b"online", b"offline"


def devices(message: Message, topics: Topics, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Topics and payloads, to be retained, that make what `message` speaks of known; none where prefix is empty."""
    if prefix and isinstance(message, Status):
        yield _state(message, topics, prefix)
    if prefix and isinstance(message, Event):
        yield _labels(message, topics, prefix)


def _state(status: Status, topics: Topics, prefix: str) -> tuple[str, bytes]:
    """A sensor that is on while the box recognises, or while the camera gives pictures."""
    names = [status.host, *([status.camera] if status.camera else [])]
    good = "['online']" if status.camera else "['ready', 'degraded', 'reloaded', 'reload_failed']"
    return _entity(
        "binary_sensor",
        names,
        topics,
        prefix,
        "state",
        {
            "name": "Online" if status.camera else "Running",
            "device_class": "connectivity" if status.camera else "running",
            "state_topic": topics.of(status),
            "value_template": f"{{{{ 'ON' if value_json.state in {good} else 'OFF' }}}}",
            "json_attributes_topic": topics.of(status),
        },
    )


def _labels(event: Event, topics: Topics, prefix: str) -> tuple[str, bytes]:
    """A sensor that says which labels are there, in a region or in all of the picture."""
    return _entity(
        "sensor",
        [event.host, event.camera],
        topics,
        prefix,
        _identity("labels", *filter(None, [event.region])),
        {
            "name": f"Labels {event.region or ''}".strip(),
            "icon": "mdi:eye",
            "state_topic": topics.present(event),
            "value_template": "{{ value_json.labels | join(', ') or 'none' }}",
        },
    )


def _entity(
    component: str, names: list[str], topics: Topics, prefix: str, what: str, settings: dict[str, Any]
) -> tuple[str, bytes]:
    identity = _identity("adainf", *names)
    device: dict[str, Any] = {"identifiers": [identity], "name": " ".join(names), "manufacturer": "adainf"}
    if len(names) > 1:
        device["via_device"] = _identity("adainf", names[0])
    told = {
        **settings,
        "unique_id": f"{identity}_{what}",
        "device": device,
        "availability": [{"topic": topics.relay}, {"topic": topics.box(names[0])}],
        "availability_mode": "all",
        "origin": {"name": "adainfd relay"},
    }
    return f"{prefix}/{component}/{identity}/{what}/config", msgspec.json.encode(told)


def _identity(*names: str) -> str:
    return "_".join(re.sub(r"[^A-Za-z0-9-]", "_", name) for name in names)
