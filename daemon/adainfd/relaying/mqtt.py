"""Events and states of many boxes at an MQTT broker, where home and factory automation looks for them."""

import select
import socket
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from adainf import files
from adainf.errors import InvalidInputError, one_line
from adainfd.client import Event, Gap, Link, Message, Notice, Status, Subscriber, Unreadable
from adainfd.config import host_name
from adainfd.logs import Logger
from adainfd.relaying import homeassistant
from adainfd.relaying.address import BrokerAddress
from adainfd.relaying.config import MqttSection
from adainfd.relaying.presence import Presence
from adainfd.relaying.topics import Topics
from adainfd.stopping import StopRequest
from adainfd.wire.link import Box

__all__ = ["Bridge"]

_CONNECT_WITHIN_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15
_LONGEST_WAIT_SECONDS = 30.0
_MESSAGES_QUEUED = 1000
_MESSAGES_AT_ONCE = 100
# Five heartbeats.
_SILENT_AFTER_SECONDS = 5.0
_LAST_WORDS_SECONDS = 1.0
_AT_LEAST_ONCE = 1


class Bridge:
    """Tells a broker what the boxes tell us, and goes on when one of them has been away.

    States are retained, so that the broker says them to whoever comes late; events are not. A box that is silent, and
    all of them when this relay is gone, are `offline` under a topic of their own.
    """

    def __init__(self, boxes: Sequence[Box], settings: MqttSection, log: Logger) -> None:
        """Raises InvalidInputError where the password or the authority's certificate cannot be read."""
        self._boxes = boxes
        self._settings = settings
        self._log = log
        self._address = BrokerAddress.parse(settings.url)
        self._topics = Topics(settings.prefix, host_name())
        self._client = self._prepared()
        self._retained: dict[str, bytes] = {}
        self._presence = Presence()
        self._heard_at: dict[str, float] = {}
        self._connect_at, self._wait = 0.0, 1.0

    def run(self, stop: StopRequest) -> None:
        """Relay until a stop is requested."""
        self._log.info("relaying", broker=str(self._address))
        with Subscriber(*self._boxes, topics=("status/", "event/"), notice=self._tell) as messages:
            more = False
            while not stop.requested:
                self._attend()
                self._await((*messages.descriptors, stop.fileno()), 0 if more else 1.0)
                more = self._forward(messages)
                self._tell_silent()
        self._leave()

    def _prepared(self) -> paho.Client:
        address, settings = self._address, self._settings
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"adainf-relay-{socket.gethostname()}")
        client.connect_timeout = _CONNECT_WITHIN_SECONDS
        client.max_queued_messages_set(_MESSAGES_QUEUED)
        client.will_set(self._topics.relay, homeassistant.OFFLINE, _AT_LEAST_ONCE, retain=True)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        user = settings.user or address.user
        try:
            password = address.password
            if settings.password_file is not None:
                password = files.read_text(settings.password_file, "mqtt password").rstrip("\r\n")
            if settings.ca_file is not None:
                files.check_file(settings.ca_file, "mqtt")
            if address.encrypted:
                client.tls_set(ca_certs=None if settings.ca_file is None else str(settings.ca_file))
        except OSError as error:
            why = error.strerror or "holds no certificate"
            raise InvalidInputError(f"mqtt: {settings.ca_file} cannot be read ({one_line(why)})") from None
        if user is not None:
            client.username_pw_set(user, password)
        return client

    def _attend(self) -> None:
        """Whatever the connection to the broker needs; connect where there is none and it is time."""
        if self._client.socket() is not None:
            self._client.loop_read()
            self._client.loop_write()
            self._client.loop_misc()
        elif time.monotonic() >= self._connect_at:
            self._connect_at = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
            try:
                self._client.connect(self._address.host, self._address.port, _KEEP_ALIVE_SECONDS)
            except OSError as error:  # refused, unknown, too slow, or a certificate that is not right
                self._log.warning("broker_absent", broker=str(self._address), why=one_line(error))

    def _await(self, descriptors: Sequence[int], seconds: float) -> None:
        broker = self._client.socket()
        reads: list[Any] = [*descriptors, *([broker] if broker is not None else [])]
        writes: list[Any] = [broker] if broker is not None and self._client.want_write() else []
        select.select(reads, writes, [], seconds)

    def _forward(self, messages: Subscriber) -> bool:
        """Pass on what has come; whether there may be more."""
        for _ in range(_MESSAGES_AT_ONCE):
            message = messages.receive(0)
            if message is None:
                return False
            if self._topics.may_carry(message):
                self._pass_on(message)
        return True

    def _pass_on(self, message: Message) -> None:
        for topic, payload in homeassistant.devices(message, self._topics, self._settings.discovery):
            self._retain(topic, payload)
        payload = msgspec.json.encode(message)
        if isinstance(message, Event):
            self._retain(self._topics.present(message), self._presence.after(message))
            if not message.repeated:  # what an automation acts on happens once
                self._client.publish(self._topics.of(message), payload, _AT_LEAST_ONCE)
        if not isinstance(message, Status):
            return
        self._retain(self._topics.of(message), payload)
        if message.camera is None:
            alive = message.state != "stopped"
            self._retain(self._topics.box(message.host), homeassistant.ONLINE if alive else homeassistant.OFFLINE)
            if alive:
                self._heard_at[message.host] = time.monotonic()
            else:
                self._heard_at.pop(message.host, None)

    def _retain(self, topic: str, payload: bytes) -> None:
        """Have the broker keep it; while it is away, have it told when it is back."""
        if self._retained.get(topic) == payload:
            return
        self._retained[topic] = payload
        if self._client.is_connected():
            self._client.publish(topic, payload, _AT_LEAST_ONCE, retain=True)

    def _tell_silent(self) -> None:
        now = time.monotonic()
        for host in [host for host, at in self._heard_at.items() if now - at > _SILENT_AFTER_SECONDS]:
            del self._heard_at[host]
            self._retain(self._topics.box(host), homeassistant.OFFLINE)
            self._log.warning("box_silent", host=host)

    def _connected(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del userdata, flags, properties
        if reason.is_failure:
            self._log.warning("broker_refused", broker=str(self._address), why=str(reason))
            return
        self._wait = 1.0
        self._log.info("broker_connected", broker=str(self._address))
        client.publish(self._topics.relay, homeassistant.ONLINE, _AT_LEAST_ONCE, retain=True)
        for topic, payload in self._retained.items():
            client.publish(topic, payload, _AT_LEAST_ONCE, retain=True)

    def _disconnected(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        if reason.is_failure:
            self._log.warning("broker_gone", broker=str(self._address), why=str(reason))

    def _leave(self) -> None:
        """Say that this relay is gone, and hang up; for a second at most."""
        if not self._client.is_connected():
            return
        said = self._client.publish(self._topics.relay, homeassistant.OFFLINE, _AT_LEAST_ONCE, retain=True)
        end = time.monotonic() + _LAST_WORDS_SECONDS
        while not said.is_published() and self._client.is_connected() and time.monotonic() < end:
            self._attend()
            self._await((), 0.05)
        self._client.disconnect()

    def _tell(self, notice: Notice) -> None:
        match notice:
            case Gap():
                self._log.warning("messages_lost", topic=notice.topic, lost=notice.lost)
            case Unreadable():
                self._log.warning("message_unreadable", topic=notice.topic, why=one_line(notice.why))
            case Link(state="connected"):
                self._log.info("box_connected", endpoint=notice.endpoint)
            case Link():
                self._log.warning(f"box_{notice.state}", endpoint=notice.endpoint, why=notice.why)
