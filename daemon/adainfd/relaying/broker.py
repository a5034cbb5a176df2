"""The connection to an MQTT broker: made, kept, and made again; nothing here waits or has a thread."""

import select
import time
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from adainf import files
from adainf.errors import InvalidInputError, one_line
from adainfd import secretfile
from adainfd.logs import Logger
from adainfd.relaying.address import BrokerAddress
from adainfd.relaying.config import MqttSection

__all__ = ["Broker", "check"]

_CONNECT_WITHIN_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15
_LONGEST_WAIT_SECONDS = 30.0
_MESSAGES_QUEUED = 1000
_AT_LEAST_ONCE = 1


class Broker:
    """A broker that is connected to when it is time, and told what `publish` is given."""

    def __init__(
        self,
        settings: MqttSection,
        identifier: str,
        will: tuple[str, bytes],
        log: Logger,
        *,
        connected: Callable[[], None],
        received: Callable[[str, bytes, bool], None],
    ) -> None:
        """identifier: of this client, no other's. will: topic and payload that the broker keeps if we are lost.

        connected: is called after each connect. received: with topic, payload, and whether the broker had kept it.
        Raises InvalidInputError where the password or the authority's certificate cannot be read.
        """
        self.address = BrokerAddress.parse(settings.url)
        self._log = log
        self._when_connected = connected
        self._connect_at, self._wait = 0.0, 1.0
        self._lost = 0
        self._last_kept: paho.MQTTMessageInfo | None = None
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=identifier)
        self._client.connect_timeout = _CONNECT_WITHIN_SECONDS
        self._client.max_queued_messages_set(_MESSAGES_QUEUED)
        self._client.will_set(*will, _AT_LEAST_ONCE, retain=True)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = lambda _, __, told: received(told.topic, bytes(told.payload), told.retain)
        _identify(self._client, settings, self.address)

    @property
    def connected(self) -> bool:
        """Whether the broker is there and has let us in."""
        return self._client.is_connected()

    def attend(self) -> None:
        """Whatever the connection needs; connect where there is none and it is time."""
        if self._client.socket() is not None:
            self._client.loop_read()
            self._client.loop_write()
            self._client.loop_misc()
        elif time.monotonic() >= self._connect_at:
            self._connect_at = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
            try:
                self._client.connect(self.address.host, self.address.port, _KEEP_ALIVE_SECONDS)
            # Refused, unknown, too slow, a certificate that is not right; or a name that cannot be one.
            except (OSError, UnicodeError) as error:
                self._log.warning("broker_absent", broker=str(self.address), why=one_line(error))

    def wait(self, descriptors: Sequence[int], seconds: float) -> None:
        """Until one of the descriptors or the connection has something, for so many seconds at most."""
        broker = self._client.socket()
        reads: list[Any] = [*descriptors, *([broker] if broker is not None else [])]
        writes: list[Any] = [broker] if broker is not None and self._client.want_write() else []
        select.select(reads, writes, [], seconds)

    def publish(self, topic: str, payload: bytes) -> None:
        """Tell of something that happens; while the broker is away up to 1000 such messages wait, others are lost."""
        if self._client.publish(topic, payload, _AT_LEAST_ONCE).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._lost += 1
            if self._lost == 1:
                self._log.warning("events_lost", broker=str(self.address), why="too many wait for the broker")

    def keep(self, topic: str, payload: bytes) -> bool:
        """Have the broker keep this, nothing if it is empty; False where that must be tried again later."""
        if not self.connected:
            return False
        sent = self._client.publish(topic, payload, _AT_LEAST_ONCE, retain=True)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        self._last_kept = sent
        return True

    def subscribe(self, topics: Sequence[str]) -> None:
        """Receive what the broker keeps under these topics, and what comes there."""
        self._client.subscribe([(topic, _AT_LEAST_ONCE) for topic in topics])

    def leave(self, within_seconds: float) -> None:
        """Hang up once the broker has what it is to keep, or after this time."""
        end = time.monotonic() + within_seconds
        last = self._last_kept
        while self.connected and last is not None and not last.is_published() and time.monotonic() < end:
            self.attend()
            self.wait((), 0.05)
        if last is None or last.is_published():
            self._client.disconnect()
        # Otherwise the connection breaks off as this process ends, and the broker makes our will known.

    def _connected(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        if reason.is_failure:
            self._log.warning("broker_refused", broker=str(self.address), why=str(reason))
            return
        self._wait = 1.0
        lost = {"events_lost": self._lost} if self._lost else {}
        self._log.info("broker_connected", broker=str(self.address), **lost)
        self._lost = 0
        self._when_connected()

    def _disconnected(self, client: paho.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        del client, userdata, flags, properties
        if reason.is_failure:
            self._log.warning("broker_gone", broker=str(self.address), why=str(reason))


def _identify(client: paho.Client, settings: MqttSection, address: BrokerAddress) -> None:
    user = settings.user or address.user
    password = address.password
    if settings.password_file is not None:
        password = secretfile.password(settings.password_file, "mqtt.password_file")
    if settings.ca_file is not None:
        files.check_file(settings.ca_file, "mqtt.ca_file")
    try:
        if address.encrypted:
            client.tls_set(ca_certs=None if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or error)
        raise InvalidInputError(f"mqtt.ca_file {settings.ca_file}: cannot be read ({why})") from None
    if user is not None:
        client.username_pw_set(user, password)


def check(settings: MqttSection) -> str:
    """Check what is needed before a broker is connected to; its address. Raises InvalidInputError as `Broker`."""
    address = BrokerAddress.parse(settings.url)
    _identify(paho.Client(CallbackAPIVersion.VERSION2), settings, address)
    return str(address)
