"""Connections to publishers: how they are made, and whether somebody is at the other end."""

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
"""When to try again where one was refused; libzmq gives up there, but the keys may change."""

_RECONNECT_MS = 100
_RECONNECT_AT_MOST_MS = 2000
_HANDSHAKE_WITHIN_MS = 5000
_PING_EVERY_MS = 2000
# A state of 64 cameras with all their labels has some 100 KB.
LONGEST_MESSAGE = 1 << 18
"""Bytes; whoever sends a longer one is hung up on."""
MESSAGES_QUEUED = 500
"""That wait for a reader, who may be slow."""


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
"""ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH, for which pyzmq has no name."""


def connecting(socket: zmq.Socket[bytes], queued: int) -> zmq.Socket[bytes]:
    """The socket, quick to notice who has gone and who is back; before it connects."""
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
    """A publisher. keys: ours, and server: its public key; both where it wants keys."""

    endpoint: str
    keys: KeyPair | None = None
    server: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidInputError on a malformed endpoint."""
        endpoints.check_reachable(self.endpoint)
        if (self.keys is None) != (self.server is None):
            raise InvalidInputError("key and server go together: our keys, and the public key of the daemon")

    def connect(self, socket: zmq.Socket[bytes], *, anew: bool = False) -> None:
        """Connect, or let go and connect anew; whoever is not there yet is waited for."""
        socket.setsockopt(zmq.CURVE_SERVER, 0)  # without keys, whatever was connected to before
        if self.keys is not None and self.server is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
            socket.setsockopt(zmq.CURVE_SERVERKEY, self.server.encode())
        if anew:
            self.disconnect(socket)
        endpoints.connect(socket, self.endpoint)

    def disconnect(self, socket: zmq.Socket[bytes]) -> None:
        """Let go, of what has come and was not taken too."""
        with contextlib.suppress(zmq.ZMQError):  # libzmq has let go of it already
            socket.disconnect(self.endpoint)


@dataclass(frozen=True, slots=True)
class Link:
    """The connection to an endpoint.

    connected: somebody is there; absent: nobody is; refused: somebody is and lets us not in; connecting: not known yet.
    why: in words, where it is not connected.
    """

    endpoint: str
    state: Literal["connecting", "connected", "absent", "refused"]
    why: str | None = None


class Links:
    """The connections of one socket, by endpoint."""

    def __init__(self, socket: zmq.Socket[bytes], *, keys: bool) -> None:
        """keys: whether the socket has CURVE keys."""
        self.by_endpoint: dict[str, Link] = {}
        self.monitor = socket.get_monitor_socket(_EVENTS)
        """Readable when something has changed; call `changes` then."""
        self.given_up: set[str] = set()
        """Endpoints that libzmq may not connect to again by itself, as after a message that is too long."""
        self.descriptors: dict[str, int] = {}
        """The file descriptor of each endpoint's last connection, which is libzmq's."""
        self._socket = socket
        self._keys = keys

    def changes(self) -> Iterator[Link]:
        """What has changed since this was asked last."""
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
                # Who hangs up first says nothing of the reason; often a later attempt brings it to light.
                key = "its public key is not the one that we were given" if self._keys else "it wants keys"
                return Link(link.endpoint, "refused", f"it hung up on us; perhaps {key}")
            case zmq.EVENT_CLOSED:
                return Link(link.endpoint, "absent", "nobody listens there")
            case zmq.EVENT_DISCONNECTED if link.state == "connected":
                return Link(link.endpoint, "absent", "it hung up")
            case _:
                return link
