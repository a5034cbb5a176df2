"""The number of connections to a bound socket, and the limits that libzmq itself enforces on each of them."""

import zmq

from adainf.process import limits
from adainfd.wire.serving.requests import LONGEST_TOPIC

__all__ = ["LONGEST_FRAME", "MOST", "bounded", "most_beside"]

MOST = 128
"""Connections at once, where descriptors suffice. A reader that reads nothing costs up to 64 KB."""

LONGEST_FRAME = LONGEST_TOPIC + 384
"""Bytes. CURVE's INITIATE with the longest identity has 544; a topic with CURVE's overhead has far fewer."""

_FEWEST = 8
# Between two checks of its connections, libzmq accepts the whole backlog and a few more.
_LATE = 40
# Each connection has two descriptors, libzmq's and ours.
_DESCRIPTORS = 2

_BACKLOG = 32
_HANDSHAKE_WITHIN_MS = 5000
# Requests of one connection queued while the program is busy. libzmq reads all queued requests before they can be
# counted, and searches them all for each connection that ends.
_REQUESTS_QUEUED = 2
# Messages queued for a slow reader. A message queued for many is stored once, and costs 128 bytes for each of them.
_MESSAGES_QUEUED = 250
# Kernel buffers of each connection, in bytes: outgoing messages, and incoming requests.
_SENT_QUEUED, _CAME_QUEUED = 1 << 16, 1 << 12
# A peer that has vanished, or reads nothing, is dropped after a minute.
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES, _UNTAKEN_MS = 30, 10, 3, 60_000


def most_beside(files: int) -> int:
    """Return the number of connections at once that leaves room for the `files` files a program opens besides."""
    spare = limits.spare_files(files, _DESCRIPTORS * (MOST - _FEWEST) + _LATE) - _LATE
    return _FEWEST + max(0, spare) // _DESCRIPTORS


def bounded(zmq_socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
    """Set libzmq's own limits on the cost of a subscriber for an XPUB socket, before it binds; return it."""
    for option, value in (
        (zmq.BACKLOG, _BACKLOG),
        (zmq.HANDSHAKE_IVL, _HANDSHAKE_WITHIN_MS),
        (zmq.MAXMSGSIZE, LONGEST_FRAME),
        (zmq.SNDHWM, _MESSAGES_QUEUED),
        (zmq.RCVHWM, _REQUESTS_QUEUED),
        (zmq.SNDBUF, _SENT_QUEUED),
        (zmq.RCVBUF, _CAME_QUEUED),
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, _PROBE_AFTER_S),
        (zmq.TCP_KEEPALIVE_INTVL, _PROBE_EVERY_S),
        (zmq.TCP_KEEPALIVE_CNT, _PROBES),
        (zmq.TCP_MAXRT, _UNTAKEN_MS),
        (zmq.XPUB_VERBOSER, 1),  # report every subscribe and unsubscribe, not each topic's first and last
    ):
        zmq_socket.setsockopt(option, value)
    return zmq_socket
