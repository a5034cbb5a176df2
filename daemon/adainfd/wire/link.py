"""Whether somebody is at the other end, as libzmq tells the socket that connects."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import zmq
from zmq.utils.monitor import parse_monitor_message

__all__ = ["Link", "Links"]

_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
)
_OTHER_MECHANISM = 0x11000002
"""ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH, for which pyzmq has no name."""


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
        self._socket = socket
        self._keys = keys

    def changes(self) -> Iterator[Link]:
        """What has changed since this was asked last."""
        while self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())
            endpoint = event["endpoint"].decode()
            before = self.by_endpoint.get(endpoint, Link(endpoint, "connecting"))
            after = self._after(before, event)
            if after != before:
                self.by_endpoint[endpoint] = after
                yield after

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
