"""`adainfd relay`: publishes the streams of many boxes at one address, or their events and states at an MQTT broker."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adainf.base.errors import InvalidInputError
from adainf.base.tomlfile import explain, load, validated
from adainfd.base.logs import Logger
from adainfd.base.sighup import ReloadRequest
from adainfd.base.stopping import StopRequest
from adainfd.config.configuration import host_name
from adainfd.relaying.config import RelayConfiguration
from adainfd.relaying.names import Names
from adainfd.wire.keys import KeyPair, public_key
from adainfd.wire.reading.link import Box
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.bounds import most_beside

__all__ = ["check", "from_command_line", "is_of_a_relay", "run"]

_LONGEST_HOST = 100
# A closing connection and its successor may hold descriptors at the same time.
_FILES, _FILES_A_BOX = 64, 6


def is_of_a_relay(told: Mapping[str, Any]) -> bool:
    """Return whether a configuration file's content is a relay's, not a daemon's."""
    return bool({"box", "mqtt"} & told.keys()) and not {"camera", "model"} & told.keys()


def from_command_line(
    file: Path | None,
    connect: Sequence[str],
    bind: Sequence[str],
    mqtt: str | None,
    mqtt_password_file: Path | None = None,
) -> RelayConfiguration:
    """Return the configuration of `adainfd relay`; the command line overrides the file.

    Raises InvalidInputError where the file or the arguments are invalid.
    """
    settings = {} if file is None else load(file, "configuration")
    if mqtt_password_file is not None:
        settings["mqtt"] = {**_table(settings, "mqtt"), "password_file": mqtt_password_file}
    return _configured(settings, file, connect, bind, mqtt)


def _configured(
    settings: dict[str, Any], file: Path | None, connect: Sequence[str], bind: Sequence[str], mqtt: str | None
) -> RelayConfiguration:
    if connect:
        settings["box"] = [{"connect": endpoint} for endpoint in connect]
    if bind:
        settings["publish"] = {**_table(settings, "publish"), "bind": list(bind)}
    if mqtt is not None:
        settings["mqtt"] = {**_table(settings, "mqtt"), "url": mqtt}
    if file is not None:
        return _named(validated(settings, file, "configuration", RelayConfiguration), file)
    try:
        configuration = RelayConfiguration.model_validate(settings)
    except ValidationError as error:
        raise InvalidInputError(explain(error, RelayConfiguration)) from None
    return _named(configuration, None)


def check(told: dict[str, Any], file: Path) -> str:
    """Check a relay's configuration, the content of `file`, and the files that it names; return a one-line summary.

    Raises InvalidInputError.
    """
    configuration = _configured(told, file, [], [], None)
    boxes = _boxes(configuration)
    if configuration.mqtt is not None:
        from adainfd.relaying.mqtt.broker import check as check_broker

        destination = f"broker {check_broker(configuration.mqtt)}"
    else:
        CurveServer.read(configuration.key, configuration.publish.clients, None)
        destination = f"published at {', '.join(configuration.publish.bind)}"
    return f"relay of {', '.join(box.endpoint for box in boxes)}, {destination}"


def run(configuration: RelayConfiguration, log: Logger) -> None:
    """Relay until a stop signal; SIGHUP reloads the allow-list of clients, or the broker's password.

    Raises InvalidInputError where the relay cannot start.
    """
    boxes = _boxes(configuration)
    names = Names((box.connect, box.hosts) for box in configuration.box)
    with StopRequest() as stop, ReloadRequest() as reload:
        stop.defer()
        if configuration.mqtt is not None:
            from adainfd.relaying.mqtt.bridge import Bridge

            Bridge(boxes, names, configuration.mqtt, log).run(stop, reload)
            return
        from adainfd.relaying.streams.proxy import Proxy

        publish = configuration.publish
        curve = CurveServer.read(configuration.key, publish.clients, log)
        most = most_beside(_FILES + len(boxes) * _FILES_A_BOX)
        proxy = Proxy(boxes, names, publish.bind, curve, log, most=most)
        log.info("relaying", endpoints=proxy.endpoints)
        try:
            proxy.run(stop, reload)
        finally:
            proxy.close()


def _boxes(configuration: RelayConfiguration) -> list[Box]:
    keys = None if configuration.key is None else KeyPair.read(configuration.key)
    return [
        Box(box.connect, None if box.server is None else keys, None if box.server is None else public_key(box.server))
        for box in configuration.box
    ]


def _table(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of the settings, or an empty one where it is not a table: the validation reports that."""
    table = settings.get(name, {})
    return table if isinstance(table, Mapping) else {}


def _named(configuration: RelayConfiguration, file: Path | None) -> RelayConfiguration:
    """Name a relay that has no name: unlike other relays of this host, and the same at every start."""
    mqtt = configuration.mqtt
    if mqtt is None or mqtt.name is not None:
        return configuration
    identity = [str(file.absolute())] if file is not None else sorted(box.connect for box in configuration.box)
    digest = hashlib.sha256("\n".join([*identity, mqtt.url, mqtt.prefix]).encode()).hexdigest()[:8]
    name = f"{host_name()[:_LONGEST_HOST]}-{digest}"
    return configuration.model_copy(update={"mqtt": mqtt.model_copy(update={"name": name})})
