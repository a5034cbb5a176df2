"""The connection to an MQTT broker, with reconnects, and without a thread."""

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line
from adainfd.base import secretfile
from adainfd.base.logs import Logger
from adainfd.relaying.config import MqttSection
from adainfd.relaying.mqtt.address import BrokerAddress

__all__ = ["Broker", "check"]

_CONNECT_WITHIN_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 15
_LONGEST_WAIT_SECONDS = 30.0
_MOST_UNANSWERED = 20
"""Unconfirmed events, and as many states; the rest wait with the caller, where a newer state replaces an older one."""
_LONGEST_PACKET = 1 << 20
_MOST_OF_AUTHORITIES = 1 << 20
"""Bytes: several times the size of all certificate authorities that a system trusts."""
_AT_LEAST_ONCE = 1
_OTHER_PROTOCOL = "Unsupported protocol version"

_Sent = tuple[paho.MQTTMessageInfo, str, bytes]


class Broker:
    """An MQTT client that connects and reconnects from `attend`.

    It speaks MQTT 5, which tells the broker the largest packet we accept, or MQTT 3.1.1 where the broker knows no
    other.
    """

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
        """identifier: this client's, unique. will: topic and payload that the broker retains if we are lost.

        connected: called after each connect. received: called with topic, payload, and whether it was retained.
        Raises InvalidInputError where the password or the authority's certificate cannot be read.
        """
        self.address = BrokerAddress.parse(settings.url)
        self._settings, self._identifier, self._will = settings, identifier, will
        self._log = log
        self._when_connected, self._when_received = connected, received
        self._connect_at, self._wait = 0.0, 1.0
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._events: deque[_Sent] = deque()
        self._states: deque[_Sent] = deque()
        # Arguments of paho's callbacks, handled after it has returned: our errors must not look like its own.
        self._answers: list[Any] = []
        self._departures: list[Any] = []
        self._came: list[paho.MQTTMessage] = []
        self._client = self._new_client()
        _identify(self._client, settings, self.address)

    def identify(self) -> None:
        """Check the credentials, and reconnect at once if disconnected; raise InvalidInputError if they are unreadable.

        They are read again for each connection.
        """
        check(self._settings)
        self._connect_at, self._wait = 0.0, 1.0

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted our connection."""
        return self._client.is_connected()

    @property
    def unanswered(self) -> int:
        """Messages sent to the broker that it has not confirmed."""
        return sum(not sent[0].is_published() for sent in (*self._events, *self._states))

    def attend(self) -> None:
        """Read, write and keep alive the connection; connect where there is none and it is time."""
        if self._client.socket() is not None:
            self._exchange()
        elif time.monotonic() >= self._connect_at:
            self._connect()
        self._settle()

    def wait(self, descriptors: Sequence[int], seconds: float) -> None:
        """Wait until a descriptor or the connection is ready, for `seconds` at most."""
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        broker = self._client.socket()
        if broker is not None:
            poll.register(broker, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
            if getattr(broker, "pending", int)():  # TLS has read data already, so the descriptor does not signal it
                seconds = 0
        poll.poll(1000 * seconds)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish an event; return False where the caller must try again later."""
        return self._send(self._events, topic, payload, keep=False)

    def keep(self, topic: str, payload: bytes) -> bool:
        """Have the broker retain this payload, or forget the topic if empty; return False to try again later."""
        return self._send(self._states, topic, payload, keep=True)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Receive the retained and the new messages of these topics."""
        for topic in topics:
            self._client.subscribe(topic, _AT_LEAST_ONCE)

    def leave(self) -> None:
        """Disconnect if the broker has confirmed every message.

        Otherwise the connection breaks when this process ends, and the broker publishes our will.
        """
        if not self.unanswered:
            self._client.disconnect()

    def _send(self, unanswered: deque[_Sent], topic: str, payload: bytes, *, keep: bool) -> bool:
        while unanswered and unanswered[0][0].is_published():
            unanswered.popleft()
        if not self.connected or len(unanswered) >= _MOST_UNANSWERED:
            return False
        sent = self._client.publish(topic, payload, _AT_LEAST_ONCE, retain=keep)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        unanswered.append((sent, topic, payload))
        return True

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._identifier,
            protocol=self._protocol,
            reconnect_on_failure=False,  # paho would block on the connect while it reads
        )
        client.connect_timeout = _CONNECT_WITHIN_SECONDS
        client.max_inflight_messages_set(2 * _MOST_UNANSWERED)
        client.will_set(*self._will, _AT_LEAST_ONCE, retain=True)
        client.on_connect = lambda _, __, ___, reason, ____: self._answers.append(reason)
        client.on_disconnect = lambda _, __, ___, reason, ____: self._departures.append(reason)
        client.on_message = lambda _, __, message: self._came.append(message)
        return client

    def _connect(self) -> None:
        self._connect_at = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
        options: dict[str, Any] = {}
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = _LONGEST_PACKET
            options = {"clean_start": True, "properties": properties}
        try:
            self._client = self._new_client()  # a new client carries over no state of a lost connection
            _identify(self._client, self._settings, self.address)
            self._client.connect(self.address.host, self.address.port, _KEEP_ALIVE_SECONDS, **options)
        # Refused, unknown host, timeout or invalid certificate; a malformed host name; a missing password file.
        except (OSError, UnicodeError, InvalidInputError) as error:
            self._log.warning("broker_absent", broker=str(self.address), why=one_line(error))

    def _exchange(self) -> None:
        try:
            self._client.loop_read()
            self._client.loop_write()
            self._client.loop_misc()
        except Exception as error:  # paho parses what the broker sends, and raises whatever that leads to
            self._break_off(f"it sends what is no MQTT ({one_line(error, 100)})")
            return
        if getattr(self._client, "_in_packet", {}).get("remaining_length", 0) > _LONGEST_PACKET:
            self._break_off(f"it sends a packet of more than {_LONGEST_PACKET} bytes")

    def _break_off(self, why: str) -> None:
        self._log.warning("broker_refused", broker=str(self.address), why=why)
        self._answers.clear()
        broken, self._client = self._client.socket(), self._new_client()
        if isinstance(broken, socket.socket):
            broken.close()

    def _settle(self) -> None:
        """Handle the callbacks that paho has made."""
        answers, self._answers = self._answers, []
        departures, self._departures = self._departures, []
        messages, self._came = self._came, []
        for reason in answers:
            if reason.is_failure and str(reason) == _OTHER_PROTOCOL:
                self._protocol, self._connect_at = MQTTProtocolVersion.MQTTv311, 0.0
                departures = []  # the broker has closed the connection; retry at once
            elif reason.is_failure:
                self._log.warning("broker_refused", broker=str(self.address), why=str(reason))
            else:
                self._begin()
        for message in messages:
            try:
                topic = message.topic
            except UnicodeDecodeError:
                continue  # not a topic of ours
            self._when_received(topic, bytes(message.payload), message.retain)
        for reason in departures:
            if reason.is_failure:
                self._log.warning("broker_gone", broker=str(self.address), why=str(reason))

    def _begin(self) -> None:
        self._wait = 1.0
        unconfirmed = [(topic, payload) for sent, topic, payload in self._events if not sent.is_published()]
        self._events.clear()
        self._states.clear()
        self._when_connected()
        for topic, payload in unconfirmed:
            self.publish(topic, payload)


def _identify(client: paho.Client, settings: MqttSection, address: BrokerAddress) -> None:
    user = settings.user or address.user
    password = address.password
    if settings.password_file is not None:
        password = secretfile.password(settings.password_file, "mqtt.password_file")
    if user is not None:
        client.username_pw_set(user, password)
    if address.encrypted or settings.ca_file is not None:
        authorities = _authorities(settings.ca_file)
        if address.encrypted:
            client.tls_set_context(authorities)


def _authorities(file: Path | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in a file, or the system's where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file is None:
        context.load_default_certs()
        return context
    # Comments between certificates may be in any encoding, but Python accepts only ASCII.
    certificates = files.read(file, "mqtt.ca_file", _MOST_OF_AUTHORITIES).decode("ascii", errors="ignore")
    try:
        context.load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInputError(f"mqtt.ca_file {file}: holds no certificate ({one_line(error, 100)})") from None
    return context


def check(settings: MqttSection) -> str:
    """Check what a connection to the broker needs and return its address; raise InvalidInputError as `Broker` does."""
    address = BrokerAddress.parse(settings.url)
    _identify(paho.Client(CallbackAPIVersion.VERSION2), settings, address)
    return str(address)
