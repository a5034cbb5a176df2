"""The connections to bound sockets: as many as may be, and hung up on where they cost too much.

libzmq accepts whoever comes, keeps what he sends, and bounds neither; this watches what it does. It tells of each
connection by its file descriptor, and a connection is ended by shutting that down.
"""

import contextlib
import ctypes
import os
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl

import zmq

from adainf import limits
from adainfd.logs import Logger
from adainfd.watched import Watched
from adainfd.wire.requests import LONGEST_TOPIC

__all__ = ["MOST", "Connection", "Connections", "bounded", "most_beside"]

MOST = 256
"""Connections at once, where descriptors allow."""

_FEWEST = 8
# Between two looks libzmq accepts whoever waits for it, and more.
_LATE = 40

# An INITIATE of CURVE with the longest identity has 544 bytes; a topic, with what CURVE adds to it, far fewer.
_LONGEST_FRAME = LONGEST_TOPIC + 384
# Requests that wait for a busy program, a connection.
_REQUESTS_QUEUED = 16
# For a subscriber that is slow: half a minute of results. What waits for many is kept once, beside 64 bytes for each.
_MESSAGES_QUEUED = 500
# In the kernel: results that go out, and requests that come in. With more of these, more comes before a flood is ended.
_SENT_QUEUED, _CAME_QUEUED = 1 << 18, 4096
_HANDSHAKE_WITHIN_MS = 5000
# A peer that has vanished, or takes nothing in, is let go after a minute.
_PROBE_AFTER_S, _PROBE_EVERY_S, _PROBES, _UNTAKEN_MS = 30, 10, 3, 60_000
_BACKLOG = 32
# Of those who connect: so many at once, then so many a second. What an abuser costs, his next connections wait for.
_AT_ONCE, _A_SECOND, _A_HANG_UP = 256, 100.0, 5.0
_PAUSE_SECONDS = 0.1
# Bytes that libzmq does not pass on: pings (some 25 a second), and the parts of a message that never ends.
_UNHEARD_AT_ONCE, _UNHEARD_A_SECOND = 128 * 1024, 64.0
_OVERHEAD = 64
_LOG_EVERY_SECONDS = 10.0
_JOIN_SECONDS = 2.0
_GIVE_BACK_AFTER, _GIVE_BACK_EVERY = 0.5, 5.0

_EVENTS = (
    zmq.EVENT_LISTENING
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_TCP_BYTES_RECEIVED = 128  # in tcp_info
_LINGER_NOT = struct.pack("ii", 1, 0)
# One instruction of the classic packet filter: return 0, so that nothing comes through.
_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)


def most_beside(files: int) -> int:
    """Connections at once in a program that opens so many `files` beside them."""
    return _FEWEST + max(0, limits.spare_files(files, 2 * (MOST - _FEWEST) + _LATE) - _LATE) // 2


def bounded(zmq_socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
    """The socket (XPUB), with libzmq's own bounds on what a subscriber may cost; before it binds."""
    for option, value in (
        (zmq.SNDHWM, _MESSAGES_QUEUED),
        (zmq.RCVHWM, _REQUESTS_QUEUED),
        (zmq.MAXMSGSIZE, _LONGEST_FRAME),
        (zmq.HANDSHAKE_IVL, _HANDSHAKE_WITHIN_MS),
        (zmq.SNDBUF, _SENT_QUEUED),
        (zmq.RCVBUF, _CAME_QUEUED),
        (zmq.BACKLOG, _BACKLOG),
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, _PROBE_AFTER_S),
        (zmq.TCP_KEEPALIVE_INTVL, _PROBE_EVERY_S),
        (zmq.TCP_KEEPALIVE_CNT, _PROBES),
        (zmq.TCP_MAXRT, _UNTAKEN_MS),
        (zmq.XPUB_VERBOSER, 1),  # each subscription is told, and each end of one
    ):
        zmq_socket.setsockopt(option, value)
    return zmq_socket


@dataclass(slots=True, eq=False)
class Connection:
    """Somebody who has connected.

    inode: of the socket, by which it is known again. kept: a descriptor of our own for it, where one was left.
    asked: it has subscribed to something. received, left: bytes that came, and that may still come unheard.
    hung_up: it ends, and is told no more of.
    """

    descriptor: int
    inode: int
    tcp: bool
    now: float
    kept: socket.socket | None
    received: int = 0
    left: float = _UNHEARD_AT_ONCE
    asked: bool = False
    hung_up: bool = False


class Connections:
    """Watches the connections of sockets, in a thread of its own: libzmq accepts while the program is busy.

    Its methods may be called from any thread.
    """

    def __init__(self, log: Logger, *, most: int = MOST, failed: Callable[[], None] | None = None) -> None:
        """most: connections at once. failed: is told of each handshake that fails at a port."""
        self.hung_up = 0
        """Connections hung up on until now."""
        self._log = log
        self._logged_at = -_LOG_EVERY_SECONDS
        self._most, self._most_silent = most, max(1, most // 2)
        self._at_once = min(most, _AT_ONCE)
        self._failed = failed
        self._monitors: list[zmq.Socket[bytes]] = []
        self._watched: list[zmq.Socket[bytes]] = []
        self._listeners: list[socket.socket] = []
        self._connections: dict[int, Connection] = {}
        self._grown = self._handshake_failed = False
        self._gone: list[Connection] = []
        self._lock = threading.RLock()
        self._tokens, self._tokens_at = float(self._at_once), time.monotonic()
        self._resume_at: float | None = None
        self._give_back_at: float | None = None
        self._gave_back_at = -_GIVE_BACK_EVERY
        # Hanging up must work where no descriptor is left.
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._spare = os.dup(self._nothing)
        self._epoll = select.epoll()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._woken, select.EPOLLIN)
        self._ended = False
        self.thread = Watched("connections", self._run)

    def watch(self, zmq_socket: "zmq.Socket[bytes]") -> None:
        """Watch a socket; before it binds."""
        monitor = zmq_socket.get_monitor_socket(_EVENTS)
        monitor.setsockopt(zmq.LINGER, 0)
        self._watched.append(zmq_socket)
        self._monitors.append(monitor)
        self._epoll.register(int(monitor.getsockopt(zmq.FD)), select.EPOLLIN)

    def open(self) -> None:
        """From now on bounds hold."""
        self.settle()
        self.thread.start()

    def settle(self) -> list[Connection]:
        """Take in what has happened until now: who has gone since this was asked last."""
        with self._lock:
            self._take_in(time.monotonic())
            gone, self._gone = self._gone, []
            return gone

    def heard(self, descriptor: int, size: int) -> Connection | None:
        """Whose request of `size` bytes has come; None where it is there no more, or has been hung up on."""
        with self._lock:
            connection = self._connections.get(descriptor)
            if connection is None or connection.hung_up:
                return None
            connection.asked = True
            connection.left = min(_UNHEARD_AT_ONCE, connection.left + size + _OVERHEAD)
            return connection

    def hang_up(self, connection: Connection, why: str, *, costs: float = _A_HANG_UP) -> None:
        """End a connection, and say so. costs: connections that the next ones at the ports wait for."""
        with self._lock:
            if connection.hung_up:
                return
            address = self._shut_down(connection)
            connection.hung_up = True
            self._gone.append(connection)
            self._tokens = max(-_A_SECOND, self._tokens - costs)
            self._say(why, address)
        self._wake()

    def _say(self, why: str, address: str) -> None:
        self.hung_up += 1
        now = time.monotonic()
        self._give_back_later(now)
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            counts = {"hung_up": self.hung_up, "connections": len(self._connections)}
            self._log.warning("reader_hung_up_on", why=why, address=address, **counts)

    def close(self) -> None:
        """End the thread; before the sockets are closed."""
        if self._epoll.closed:
            return
        for zmq_socket in self._watched:  # while somebody takes its events: else libzmq may wait for that
            if not zmq_socket.closed:
                zmq_socket.disable_monitor()
        self.thread.leave()
        self._ended = True
        self._wake()
        self.thread.join(_JOIN_SECONDS)
        for monitor in self._monitors:
            monitor.close(linger=0)
        for listener in self._listeners:
            listener.close()
        for connection in self._connections.values():
            if connection.kept is not None:
                connection.kept.close()
        self._epoll.close()
        for descriptor in (self._woken, self._spare, self._nothing):
            os.close(descriptor)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def _run(self) -> None:
        while not self._ended:
            ready = self._epoll.poll(self._patience())
            with self._lock:
                self._turn([descriptor for descriptor, _ in ready])
            self._give_back(time.monotonic())

    def _patience(self) -> float | None:
        dues = [due for due in (self._resume_at, self._give_back_at) if due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _turn(self, ready: list[int]) -> None:
        now = time.monotonic()
        if self._woken in ready:
            os.eventfd_read(self._woken)
        self._take_in(now)
        for descriptor in ready:
            connection = self._connections.get(descriptor)
            if connection is not None and not connection.hung_up:
                self._measure(connection, now)
        if self._resume_at is not None and now >= self._resume_at:
            self._resume(now)

    def _give_back_later(self, now: float) -> None:
        self._give_back_at = max(now + _GIVE_BACK_AFTER, self._gave_back_at + _GIVE_BACK_EVERY)

    def _give_back(self, now: float) -> None:
        if self._give_back_at is not None and now >= self._give_back_at:
            self._give_back_at, self._gave_back_at = None, now
            _trim()

    def _take_in(self, now: float) -> None:
        for monitor in self._monitors:
            while True:
                try:
                    event, endpoint = monitor.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                kind, value = struct.unpack("=Hi", event)
                self._happened(kind, value, endpoint, now)
        if self._grown:
            self._grown = False
            self._keep_below()

    def _happened(self, kind: int, value: int, endpoint: bytes, now: float) -> None:
        tcp = endpoint.startswith(b"tcp://")
        if kind == zmq.EVENT_ACCEPTED:
            self._accepted(Connection(value, _inode(value), tcp, now, _kept(value)), now)
        elif kind == zmq.EVENT_DISCONNECTED:
            failed, self._handshake_failed = self._handshake_failed, False
            if (gone := self._connections.pop(value, None)) is not None:
                self._ended_by_itself(gone, handshake_failed=failed)
        elif kind == zmq.EVENT_LISTENING:
            listener = socket.socket(fileno=os.dup(value))
            listener.setblocking(False)  # who has hung up again must not keep libzmq in accept()
            if tcp:
                self._listeners.append(listener)
            else:
                listener.close()
        else:
            self._handshake_failed = True  # as the next event says, whose
            if tcp and self._failed is not None:
                self._failed()

    def _accepted(self, connection: Connection, now: float) -> None:
        self._connections[connection.descriptor] = connection
        self._grown = True
        with contextlib.suppress(OSError):  # it is gone already, as an event behind this one says
            self._epoll.register(connection.descriptor, select.EPOLLIN | select.EPOLLET)
        if connection.tcp:
            self._earn(now)
            self._tokens -= 1
            if self._tokens < 0 and self._resume_at is None:
                self._pause(now)

    def _ended_by_itself(self, gone: Connection, *, handshake_failed: bool) -> None:
        """libzmq has let go of a connection: because the other end did, or because of what came over it."""
        if gone.hung_up:
            self._give_back_later(time.monotonic())  # only now is what it sent freed
        else:
            self._gone.append(gone)
            if not (handshake_failed and gone.tcp and self._failed is not None):  # else it is counted already
                self._tell_why(gone, handshake_failed=handshake_failed)
        if gone.kept is not None:
            gone.kept.close()

    def _tell_why(self, gone: Connection, *, handshake_failed: bool) -> None:
        why = "its handshake failed" if handshake_failed else f"a frame of more than {_LONGEST_FRAME} bytes"
        if gone.kept is not None and _is_still_there(gone.kept):
            self._say(why, _address(gone.kept))
        elif gone.kept is None and not gone.asked:  # over before it could be looked at
            self._say(f"{why}, or it was no reader", "gone")

    def _earn(self, now: float) -> None:
        self._tokens = min(self._at_once, self._tokens + _A_SECOND * (now - self._tokens_at))
        self._tokens_at = now

    def _keep_below(self) -> None:
        """Hang up on the oldest who have asked for nothing, and on the newest of all where that does not do."""
        there = [connection for connection in self._connections.values() if not connection.hung_up]
        silent = [connection for connection in there if not connection.asked]
        more = max(len(silent) - self._most_silent, len(there) - self._most, 0)
        chosen = (silent + [connection for connection in reversed(there) if connection.asked])[:more]
        for connection in chosen:
            self.hang_up(connection, f"more than {self._most} connect, or half as many who ask for nothing", costs=0)

    def _measure(self, connection: Connection, now: float) -> None:
        """Something came over a connection: see that it is no more than it may be."""
        try:
            received = _received(connection)
        except OSError:
            return  # it is gone
        connection.left = min(_UNHEARD_AT_ONCE, connection.left + _UNHEARD_A_SECOND * (now - connection.now))
        connection.left -= received - connection.received
        connection.received, connection.now = received, now
        if connection.left < 0:
            self.hang_up(connection, "it sends much that is no subscription")

    def _shut_down(self, connection: Connection) -> str:
        """Its other end, in words; nothing is shut down that is not this connection any more."""
        if connection.kept is not None:
            return _shut_down(connection.kept, tcp=connection.tcp)
        try:
            os.dup2(connection.descriptor, self._spare, inheritable=False)
        except OSError:
            return "gone"
        ours = socket.socket(fileno=self._spare)
        try:
            if os.fstat(self._spare).st_ino != connection.inode:
                return "gone"
            return _shut_down(ours, tcp=connection.tcp)
        finally:
            ours.detach()
            os.dup2(self._nothing, self._spare, inheritable=False)

    def _pause(self, now: float) -> None:
        """Let nobody connect to the ports for a moment: the kernel drops what asks for it, and asks are repeated."""
        self._resume_at = now + _PAUSE_SECONDS
        code = ctypes.create_string_buffer(_NOTHING)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # a kernel without filters: then he is hung up on
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def _resume(self, now: float) -> None:
        self._earn(now)
        if self._tokens < 0:
            self._resume_at = now + _PAUSE_SECONDS
            return
        self._resume_at = None
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _inode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _kept(descriptor: int) -> socket.socket | None:
    """A descriptor of our own; None where none is left, or the connection has gone already."""
    try:
        ours = os.dup(descriptor)
    except OSError:
        return None
    try:
        return socket.socket(fileno=ours)
    except OSError:  # something else has its number by now
        os.close(ours)
        return None


def _shut_down(connection: socket.socket, *, tcp: bool) -> str:
    address = _address(connection)
    try:
        if tcp:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return "gone"
    return address


def _is_still_there(connection: socket.socket) -> bool:
    """Whether the other end has not closed it."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return not poll.poll(0)


def _received(connection: Connection) -> int:
    """Bytes that came until now; at a path the kernel counts none: then those that wait, and some for what is read."""
    if connection.kept is None:
        return connection.received
    if not connection.tcp:
        waiting = struct.unpack("i", ioctl(connection.kept, termios.FIONREAD, bytes(4)))[0]
        return connection.received + max(int(waiting), _OVERHEAD)
    told = connection.kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_BYTES_RECEIVED + 8)
    return int(struct.unpack_from("Q", told, _TCP_BYTES_RECEIVED)[0])


def _address(connection: socket.socket) -> str:
    """The other end, in words."""
    try:
        if connection.family == socket.AF_UNIX:
            process, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return f"process {process} of user {user}"
        host, port = connection.getpeername()[:2]
    except OSError:
        return "gone"
    return f"{host}:{port}"


def _trim() -> None:
    """What libzmq has freed, glibc keeps for the next one; other C libraries give it back by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
