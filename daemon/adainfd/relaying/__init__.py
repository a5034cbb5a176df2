"""`adainfd relay`: the streams of many boxes at one address, or their events and states at an MQTT broker."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from adainf.errors import InvalidInputError
from adainfd.logs import Logger
from adainfd.relaying.config import RelayConfiguration
from adainfd.stopping import StopRequest
from adainfd.tomlfile import explain, load
from adainfd.wire.gate import Curve
from adainfd.wire.keys import KeyPair, public_key
from adainfd.wire.link import Box

__all__ = ["from_command_line", "run"]


def from_command_line(
    file: Path | None, connect: Sequence[str], bind: Sequence[str], mqtt: str | None
) -> RelayConfiguration:
    """The configuration of `adainfd relay`; what the command line says goes before the file.

    Raises InvalidInputError on what is wrong in the file or the arguments.
    """
    told = {} if file is None else load(file, "configuration")
    if connect:
        told["box"] = [{"connect": endpoint} for endpoint in connect]
    if bind:
        told["publish"] = {**told.get("publish", {}), "bind": list(bind)}
    if mqtt is not None:
        told["mqtt"] = {**told.get("mqtt", {}), "url": mqtt}
    try:
        return RelayConfiguration.model_validate(told)
    except ValidationError as error:
        where = "" if file is None else f"configuration {file}: "
        raise InvalidInputError(where + explain(error, RelayConfiguration)) from None


def run(configuration: RelayConfiguration, log: Logger) -> None:
    """Relay until a signal; raises InvalidInputError where that cannot begin."""
    keys = None if configuration.key is None else KeyPair.read(configuration.key)
    boxes = [
        Box(box.connect, None if box.server is None else keys, None if box.server is None else public_key(box.server))
        for box in configuration.box
    ]
    with StopRequest() as stop:
        stop.defer()
        if configuration.mqtt is not None:
            from adainfd.relaying.mqtt import Bridge

            Bridge(boxes, configuration.mqtt, log).run(stop)
            return
        from adainfd.relaying.proxy import Proxy

        publish = configuration.publish
        curve = Curve.read(configuration.key, publish.clients, log)
        proxy = Proxy(boxes, publish.bind, curve, log)
        log.info("relaying", endpoints=proxy.endpoints)
        try:
            proxy.run(stop)
        finally:
            proxy.close()
