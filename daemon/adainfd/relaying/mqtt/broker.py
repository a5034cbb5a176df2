"""The connection to an MQTT broker: made, kept, and made again; nothing here waits or has a thread."""

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
"""Of events, and of states, each; more of them wait outside, where the newer one of a state takes the older's place."""
_LONGEST_PACKET = 1 << 20
_MOST_OF_AUTHORITIES = 1 << 20
"""Bytes: several times all the authorities that a system trusts."""
_AT_LEAST_ONCE = 1
_OTHER_PROTOCOL = "Unsupported protocol version"

_Sent = tuple[paho.MQTTMessageInfo, str, bytes]


class Broker:
    """A broker that is connected to when it is time.

    It is spoken to as MQTT 5, where it is told how large a packet we take, or as MQTT 3.1.1 where it knows no other.
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
        """identifier: of this client, no other's. will: topic and payload that the broker keeps if we are lost.

        connected: is called after each connect. received: with topic, payload, and whether the broker had kept it.
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
        # What paho tells us in its callbacks, until it has returned: our own errors must not look like its.
        self._answers: list[Any] = []
        self._departures: list[Any] = []
        self._came: list[paho.MQTTMessage] = []
        self._client = self._new_client()
        _identify(self._client, settings, self.address)

    def identify(self) -> None:
        """Connect again at once where there is no connection; raises InvalidInputError where the password is not there.

        It is read for each connection.
        """
        check(self._settings)
        self._connect_at, self._wait = 0.0, 1.0

    @property
    def connected(self) -> bool:
        """Whether the broker is there and has let us in."""
        return self._client.is_connected()

    @property
    def unanswered(self) -> int:
        """How many messages the broker was sent and has not confirmed."""
        return sum(not sent[0].is_published() for sent in (*self._events, *self._states))

    def attend(self) -> None:
        """Whatever the connection needs; connect where there is none and it is time."""
        if self._client.socket() is not None:
            self._exchange()
        elif time.monotonic() >= self._connect_at:
            self._connect()
        self._settle()

    def wait(self, descriptors: Sequence[int], seconds: float) -> None:
        """Until one of the descriptors or the connection has something, for so many seconds at most."""
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        broker = self._client.socket()
        if broker is not None:
            poll.register(broker, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
            if getattr(broker, "pending", int)():  # of TLS: it has been read, and the descriptor does not tell
                seconds = 0
        poll.poll(1000 * seconds)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Tell of something that happens; False where that must be tried again later."""
        return self._send(self._events, topic, payload, keep=False)

    def keep(self, topic: str, payload: bytes) -> bool:
        """Have the broker keep this, nothing if it is empty; False where that must be tried again later."""
        return self._send(self._states, topic, payload, keep=True)

    def subscribe(self, topics: Sequence[str]) -> None:
        """Receive what the broker keeps under these topics, and what comes there."""
        for topic in topics:
            self._client.subscribe(topic, _AT_LEAST_ONCE)

    def leave(self) -> None:
        """Hang up; where the broker has not confirmed all, the connection breaks off as this process ends, and the
        broker makes our will known."""
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
            reconnect_on_failure=False,  # it would connect while it reads, and wait for that
        )
        client.connect_timeout = _CONNECT_WITHIN_SECONDS
        client.max_inflight_messages_set(2 * _MOST_UNANSWERED)
        client.will_set(*self._will, _AT_LEAST_ONCE, retain=True)
        client.on_connect = lambda _, __, ___, reason, ____: self._answers.append(reason)
        client.on_disconnect = lambda _, __, ___, reason, ____: self._departures.append(reason)
        client.on_message = lambda _, __, told: self._came.append(told)
        return client

    def _connect(self) -> None:
        self._connect_at = time.monotonic() + self._wait
        self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
        more: dict[str, Any] = {}
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = _LONGEST_PACKET
            more = {"clean_start": True, "properties": properties}
        try:
            self._client = self._new_client()  # nothing is left of a connection that was lost
            _identify(self._client, self._settings, self.address)
            self._client.connect(self.address.host, self.address.port, _KEEP_ALIVE_SECONDS, **more)
        # Refused, unknown, too slow, a certificate that is not right; a name that cannot be one; a file that is gone.
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
        """Do what follows from what paho has told."""
        answers, self._answers = self._answers, []
        departures, self._departures = self._departures, []
        came, self._came = self._came, []
        for reason in answers:
            if reason.is_failure and str(reason) == _OTHER_PROTOCOL:
                self._protocol, self._connect_at = MQTTProtocolVersion.MQTTv311, 0.0
                departures = []  # it has hung up, and is asked again at once
            elif reason.is_failure:
                self._log.warning("broker_refused", broker=str(self.address), why=str(reason))
            else:
                self._begin()
        for told in came:
            try:
                topic = told.topic
            except UnicodeDecodeError:
                continue  # no topic of ours
            self._when_received(topic, bytes(told.payload), told.retain)
        for reason in departures:
            if reason.is_failure:
                self._log.warning("broker_gone", broker=str(self.address), why=str(reason))

    def _begin(self) -> None:
        self._wait = 1.0
        again = [(topic, payload) for sent, topic, payload in self._events if not sent.is_published()]
        self._events.clear()
        self._states.clear()
        self._when_connected()
        for topic, payload in again:
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
    """TLS that trusts the authorities in a file, or those of the system."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file is None:
        context.load_default_certs()
        return context
    # Comments between certificates may be in any encoding; Python takes ASCII alone.
    told = files.read(file, "mqtt.ca_file", _MOST_OF_AUTHORITIES).decode("ascii", errors="ignore")
    try:
        context.load_verify_locations(cadata=told)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidInputError(f"mqtt.ca_file {file}: holds no certificate ({one_line(error, 100)})") from None
    return context


def check(settings: MqttSection) -> str:
    """Check what is needed before a broker is connected to; its address. Raises InvalidInputError as `Broker`."""
    address = BrokerAddress.parse(settings.url)
    _identify(paho.Client(CallbackAPIVersion.VERSION2), settings, address)
    return str(address)
