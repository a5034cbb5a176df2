"""Connections to publishers: their socket options and keys, and whether a publisher is at the other end."""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import zmq
from zmq.utils.monitor import parse_monitor_message

from adainf.base.errors import InvalidInputError
from adainfd.wire import endpoint as endpoints
from adainfd.wire.keys import KeyPair

__all__ = ["AFTER_REFUSAL_SECONDS", "LONGEST_MESSAGE", "MESSAGES_QUEUED", "Box", "Link", "Links", "connecting"]

AFTER_REFUSAL_SECONDS = 3.0
"""Delay before reconnecting after a refusal: libzmq gives up there, but the keys may change."""

_RECONNECT_MS = 100
_RECONNECT_AT_MOST_MS = 2000
_HANDSHAKE_WITHIN_MS = 5000
_PING_EVERY_MS = 2000
# A status of 64 cameras with all their labels has about 100 KB.
LONGEST_MESSAGE = 1 << 18
"""Bytes; a publisher that sends a longer message is disconnected."""
MESSAGES_QUEUED = 500
"""Messages queued for a subscriber, which may be slow."""


_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
)
_OTHER_MECHANISM = 0x11000002
"""ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH, which pyzmq does not name."""


def connecting(socket: zmq.Socket[bytes], queued: int) -> zmq.Socket[bytes]:
    """Set a socket's options, before it connects, so that it soon notices a lost or returning peer; return it."""
    for option, value in (
        (zmq.LINGER, 0),
        (zmq.MAXMSGSIZE, LONGEST_MESSAGE),
        (zmq.RCVHWM, queued),
        (zmq.RECONNECT_IVL, _RECONNECT_MS),
        (zmq.RECONNECT_IVL_MAX, _RECONNECT_AT_MOST_MS),
        (zmq.HANDSHAKE_IVL, _HANDSHAKE_WITHIN_MS),
        (zmq.HEARTBEAT_IVL, _PING_EVERY_MS),
        (zmq.HEARTBEAT_TIMEOUT, 3 * _PING_EVERY_MS),
    ):
        socket.setsockopt(option, value)
    return socket


@dataclass(frozen=True, slots=True)
class Box:
    """A publisher to connect to.

    keys: our own pair; server: the publisher's public key. Both are given where it requires keys.
    """

    endpoint: str
    keys: KeyPair | None = None
    server: str | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError on a malformed endpoint, or where only one of keys and server is given."""
        endpoints.check_reachable(self.endpoint)
        if (self.keys is None) != (self.server is None):
            raise InvalidInputError("key and server go together: our keys, and the public key of the daemon")

    def connect(self, socket: zmq.Socket[bytes], *, anew: bool = False) -> None:
        """Connect, now or once the publisher is there; anew: disconnect first."""
        socket.setsockopt(zmq.CURVE_SERVER, 0)  # reset: the connection before may have had keys
        if self.keys is not None and self.server is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
            socket.setsockopt(zmq.CURVE_SERVERKEY, self.server.encode())
        if anew:
            self.disconnect(socket)
        endpoints.connect(socket, self.endpoint)

    def disconnect(self, socket: zmq.Socket[bytes]) -> None:
        """Disconnect, and discard the messages received but not yet read."""
        with contextlib.suppress(zmq.ZMQError):  # libzmq has disconnected already
            socket.disconnect(self.endpoint)


@dataclass(frozen=True, slots=True)
class Link:
    """The state of the connection to an endpoint.

    connected: a publisher is there; absent: none is; refused: one is, and rejects us; connecting: not known yet.
    why: the reason in words, where the state is absent or refused.
    """

    endpoint: str
    state: Literal["connecting", "connected", "absent", "refused"]
    why: str | None = None


class Links:
    """The states of one socket's connections, by endpoint."""

    def __init__(self, socket: zmq.Socket[bytes], *, keys: bool) -> None:
        """keys: whether the socket has CURVE keys."""
        self.by_endpoint: dict[str, Link] = {}
        self.monitor = socket.get_monitor_socket(_EVENTS)
        """A socket that becomes readable when a connection has changed; call `changes` then."""
        self.given_up: set[str] = set()
        """Endpoints to which libzmq may not reconnect by itself, such as after a message that is too long."""
        self.descriptors: dict[str, int] = {}
        """The file descriptor of each endpoint's last connection; libzmq owns it."""
        self._socket = socket
        self._keys = keys

    def changes(self) -> Iterator[Link]:
        """Yield the connections that have changed since the last call."""
        while self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())
            endpoint = event["endpoint"].decode()
            before = self.by_endpoint.get(endpoint, Link(endpoint, "connecting"))
            self._note(endpoint, event)
            after = self._after(before, event)
            if after != before:
                self.by_endpoint[endpoint] = after
                yield after

    def _note(self, endpoint: str, event: Any) -> None:
        match event["event"]:
            case zmq.EVENT_CONNECTED:
                self.descriptors[endpoint] = event["value"]
            case zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_CLOSED:
                self.given_up.discard(endpoint)
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if event["value"] == errno.ETIMEDOUT:
                self.given_up.discard(endpoint)
            case _:
                self.given_up.add(endpoint)

    def _after(self, link: Link, event: Any) -> Link:
        kind, value = event["event"], event["value"]
        match kind:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return Link(link.endpoint, "connected")
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                return Link(link.endpoint, "refused", "our key is not among its clients")
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL if value == _OTHER_MECHANISM:
                why = "it speaks without keys" if self._keys else "it wants keys, and we have none"
                return Link(link.endpoint, "refused", why)
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                return Link(link.endpoint, "absent", "what is there speaks no ZeroMQ")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if value == errno.ETIMEDOUT:
                return Link(link.endpoint, "absent", "what is there does not answer")
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL if link.state != "refused":
                # A peer that closes the connection first gives no reason; a later attempt often reveals it.
                key = "its public key is not the one that we were given" if self._keys else "it wants keys"
                return Link(link.endpoint, "refused", f"it hung up on us; perhaps {key}")
            case zmq.EVENT_CLOSED:
                return Link(link.endpoint, "absent", "nobody listens there")
            case zmq.EVENT_DISCONNECTED if link.state == "connected":
                return Link(link.endpoint, "absent", "it hung up")
            case _:
                return link
