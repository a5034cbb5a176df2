"""The configuration file of a relay (TOML)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from adainf.base import tomlfile
from adainfd.config.configuration import Name
from adainfd.relaying.mqtt.address import BrokerAddress
from adainfd.relaying.names import MOST_HOSTS
from adainfd.wire import endpoint as endpoints
from adainfd.wire.messages import LONGEST_LABEL, LONGEST_NAME, MOST_VIEWS

Host = Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+|\*)$", max_length=LONGEST_NAME)]
ViewName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$", max_length=2 * LONGEST_NAME + 1)]

__all__ = ["BinarySection", "BoxSection", "MqttSection", "OutletSection", "RelayConfiguration"]

MOST_BOXES = 128
"""Boxes of one relay: each takes half a dozen descriptors, of which a process has about a thousand."""


class BoxSection(tomlfile.Section):
    """A daemon, or another relay, whose stream is relayed.

    server: its public key, or the file that holds it, where it requires keys. host: the host name under which it may
    publish, or the names if it is a relay, "*" for all that no other box has. Left out, it is the first name under
    which the box publishes, unless another box has that name.
    """

    connect: Annotated[str, tomlfile.checked(endpoints.check_reachable)]
    server: str | None = None
    host: Host | Annotated[tuple[Name, ...], Field(min_length=1, max_length=MOST_HOSTS)] | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The configured host names; empty where `host` is left out."""
        return (self.host,) if isinstance(self.host, str) else self.host or ()


class OutletSection(tomlfile.Section):
    """The endpoints that publish the merged streams; clients and unprotected as in a daemon's configuration."""

    bind: tuple[Annotated[str, tomlfile.checked(endpoints.check)], ...] = ()
    clients: tomlfile.NamedPath | None = None
    unprotected: bool = False


class BinarySection(tomlfile.Section):
    """How Home Assistant shows a view that has two states: on where the state is `on`, off where it is the other."""

    device_class: Annotated[str, Field(pattern=r"^[a-z_]+$", max_length=50)]
    on: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]


class MqttSection(tomlfile.Section):
    """The broker that receives events and states.

    url: mqtt://HOST[:PORT] or mqtts://HOST[:PORT]. password_file: holds the password of `user` and nothing else.
    prefix: precedes each topic. discovery: the prefix under which Home Assistant looks for devices; empty for none.
    binary_sensors: the views with two states that are binary sensors there, by CAMERA or CAMERA/REGION.
    name: this relay's, unique at the broker; by default the host's name and a digest of the configuration file's path,
    or of the boxes where there is no file, with url and prefix.
    """

    url: Annotated[str, tomlfile.checked(BrokerAddress.parse)]
    user: str | None = None
    password_file: tomlfile.NamedPath | None = None
    ca_file: tomlfile.NamedPath | None = None
    prefix: Annotated[str, Field(pattern=r"^[^#+\s\x00-\x1f/][^#+\s\x00-\x1f]*$", max_length=200)] = "adainf"
    discovery: Annotated[str, Field(pattern=r"^[^#+\s\x00-\x1f]*$", max_length=200)] = "homeassistant"
    binary_sensors: dict[ViewName, BinarySection] = Field(default_factory=dict, max_length=MOST_VIEWS)
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=200)] | None = None

    @model_validator(mode="after")
    def _password_of_somebody(self) -> Self:
        if self.password_file is not None and (self.user or BrokerAddress.parse(self.url).user) is None:
            raise ValueError("password_file: goes together with user, which may also stand in the url before its host")
        return self


class RelayConfiguration(tomlfile.Section):
    """A relay's configuration; key: the file with its key pair, which it presents to the boxes and to its readers."""

    key: tomlfile.NamedPath | None = None
    box: Annotated[tuple[BoxSection, ...], Field(max_length=MOST_BOXES)] = ()
    publish: OutletSection = OutletSection()
    mqtt: MqttSection | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.box:
            raise ValueError("box: none given; name one with --connect or in the configuration")
        if bool(self.publish.bind) == (self.mqtt is not None):
            raise ValueError("give either publish.bind (--bind) or mqtt.url (--mqtt); for both run two relays")
        if self.key is None and any(box.server for box in self.box):
            raise ValueError("key: is missing, and a box that has a server key wants to know ours")
        if self.key is None and self.publish.clients is not None:
            raise ValueError("key: is missing; it goes together with publish.clients")
        if self.publish.clients is None and not self.publish.unprotected:
            with tomlfile.refusing():
                for endpoint in self.publish.bind:
                    endpoints.check_local(endpoint)
        return self
