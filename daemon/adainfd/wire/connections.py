"""The connections to bound sockets: watched, and hung up on where they are too many or cost too much.

libzmq accepts everybody, keeps what they send, and bounds neither. Its monitor tells of each connection by the file
descriptor.
"""

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import zmq

from adainfd.logs import Logger
from adainfd.watched import Watched
from adainfd.wire.accept_rate import AcceptRate
from adainfd.wire.bounds import LONGEST_FRAME, MOST
from adainfd.wire.connection import Connection, Reserve
from adainfd.wire.memory import GiveBack

__all__ = ["Connections"]

# New connections that wait for each one that was hung up on for what it asked.
_A_HANG_UP = 5.0
_LOG_EVERY_SECONDS = 10.0
_JOIN_SECONDS = 2.0
_OVERLONG = f"a frame of more than {LONGEST_FRAME} bytes"

_EVENTS = (
    zmq.EVENT_LISTENING
    | zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Connections:
    """Watches the connections of sockets, in a thread of its own: libzmq accepts while the program is busy.

    Its methods may be called from any thread.
    """

    def __init__(self, log: Logger, *, most: int = MOST) -> None:
        """most: connections at once."""
        self.hung_up = 0
        """Connections hung up on until now."""
        self._log = log
        self._logged_at = -_LOG_EVERY_SECONDS
        self._most, self._most_silent = most, max(1, most // 2)
        self._failed: Callable[[], None] | None = None
        self._monitors: list[zmq.Socket[bytes]] = []
        self._watched: list[zmq.Socket[bytes]] = []
        self._connections: dict[int, Connection] = {}
        # Accepted where no descriptor was left for us: libzmq's descriptor, and the inode of the socket.
        self._without: dict[int, int] = {}
        self._reserve = Reserve()
        self._grown = self._handshake_failed = self._handshake_succeeded = False
        self._gone: list[Connection] = []
        self._lock = threading.RLock()
        self._rate = AcceptRate(most, time.monotonic())
        self._memory = GiveBack()
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

    def tell_failures(self, failed: Callable[[], None]) -> None:
        """`failed` counts each handshake that fails at a port; before `open`."""
        self._failed = failed

    def open(self) -> None:
        """From now on bounds hold."""
        self.settle()
        self.thread.start()

    def settle(self) -> list[Connection]:
        """Take in what has happened until now; the connections that have ended since this was asked last."""
        with self._lock:
            self._take_in(time.monotonic())
            gone, self._gone = self._gone, []
            return gone

    def heard(self, descriptor: int, size: int) -> Connection | None:
        """The connection over which a request of `size` bytes has come; None where it is hung up on, or gone."""
        with self._lock:
            connection = self._connections.get(descriptor)
            if connection is None or connection.hung_up:
                return None
            connection.heard(size)
            return connection

    def hang_up(self, connection: Connection, why: str, *, costs: float = _A_HANG_UP) -> None:
        """End a connection, count it, and say so. costs: how many new connections wait for it."""
        with self._lock:
            if connection.hung_up:
                return
            address = connection.address
            self._end(connection)
            self._rate.charge(costs)
            self._say(why, address)
        self._wake()

    def hang_up_at_ports(self) -> None:
        """End every connection to a port, whatever it does; whoever may still come in comes back by itself.

        Needs no descriptor. Those whose handshake the gate has let through are all known: libzmq tells of a connection
        before it asks the gate about it.
        """
        with self._lock:
            self._take_in(time.monotonic())
            for connection in self._connections.values():
                if connection.tcp and not connection.hung_up:
                    self._end(connection)
        self._wake()

    def _end(self, connection: Connection) -> None:
        connection.hang_up()
        self._gone.append(connection)
        self._memory.soon(time.monotonic())

    def _say(self, why: str, address: str) -> None:
        self.hung_up += 1
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            counts = {"hung_up": self.hung_up, "connections": len(self._connections)}
            self._log.warning("reader_hung_up_on", why=why, address=address, **counts)

    def close(self) -> None:
        """End the thread; before the sockets are closed."""
        if self._epoll.closed:
            return
        # While somebody takes the events in: where they fill up, libzmq waits for that.
        if not self.thread.alive:
            for monitor in self._monitors:
                list(_events(monitor))
        for zmq_socket in self._watched:
            if not zmq_socket.closed:
                zmq_socket.disable_monitor()
        self.thread.leave()
        self._ended = True
        self._wake()
        self.thread.join(_JOIN_SECONDS)
        for monitor in self._monitors:
            monitor.close(linger=0)
        for connection in self._connections.values():
            connection.close()
        self._rate.close()
        self._reserve.close()
        self._epoll.close()
        os.close(self._woken)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def _run(self) -> None:
        while not self._ended:
            ready = self._epoll.poll(self._patience())
            with self._lock:
                self._turn([descriptor for descriptor, _ in ready], time.monotonic())
            self._memory.turn(time.monotonic())

    def _patience(self) -> float | None:
        dues = [due for due in (self._rate.resumes_at, self._memory.due) if due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _turn(self, ready: list[int], now: float) -> None:
        if self._woken in ready:
            os.eventfd_read(self._woken)
        self._take_in(now)
        sending = {connection.fileno(): connection for connection in self._connections.values()}
        for descriptor in ready:
            connection = sending.get(descriptor)
            if connection is not None and not connection.hung_up and connection.sends_too_much(now):
                self.hang_up(connection, "it sends much that is no subscription")
        self._rate.resume(now)

    def _take_in(self, now: float) -> None:
        for monitor in self._monitors:
            for kind, value, endpoint in _events(monitor):
                self._happened(kind, value, now, tcp=endpoint.startswith(b"tcp://"))
        # Only now: of a descriptor that was another file's already when it was looked at, an event above says the end.
        while self._without:
            self._reserve.hang_up(*self._without.popitem())
            self._say("no descriptor is left for it", "unknown")
        if self._grown:
            self._grown = False
            self._keep_below()

    def _happened(self, kind: int, value: int, now: float, *, tcp: bool) -> None:
        if kind == zmq.EVENT_ACCEPTED:
            self._accepted(value, now, tcp=tcp)
        elif kind == zmq.EVENT_DISCONNECTED:
            failed, self._handshake_failed = self._handshake_failed, False
            if self._without.pop(value, None) is not None and self._handshake_succeeded:
                self._say(f"it left at once, or sent {_OVERLONG}", "gone")
            if (gone := self._connections.pop(value, None)) is not None:
                self._ended_by_itself(gone, handshake_failed=failed)
        elif kind == zmq.EVENT_LISTENING:
            listener = socket.socket(fileno=os.dup(value))
            listener.setblocking(False)  # a connection that has ended again must not keep libzmq in accept()
            if tcp:
                self._rate.add(listener)
            else:
                listener.close()
        elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._handshake_succeeded = True  # of the connection that was accepted last, where that is gone already
        else:
            self._handshake_failed = True  # the next event says whose
            if tcp and self._failed is not None:
                self._failed()

    def _accepted(self, descriptor: int, now: float, *, tcp: bool) -> None:
        self._handshake_succeeded = False
        if tcp:
            self._rate.connected(now)
        try:
            connection = Connection(descriptor, now, tcp=tcp)
        except OSError:
            self._without[descriptor] = _inode(descriptor)
            return
        self._connections[descriptor] = connection
        self._grown = True
        self._epoll.register(connection.fileno(), select.EPOLLIN | select.EPOLLET)

    def _ended_by_itself(self, gone: Connection, *, handshake_failed: bool) -> None:
        """libzmq has closed a connection: the other end has left, or what came over it was malformed."""
        self._memory.soon(time.monotonic())  # only now its memory is freed
        if not gone.hung_up:
            self._gone.append(gone)
            counted = handshake_failed and gone.tcp and self._failed is not None
            if not counted and not gone.left_by_the_other:
                why = "its handshake failed" if handshake_failed else _OVERLONG
                self._say(why, gone.address)
        self._epoll.unregister(gone)  # closing ours does not: libzmq may hold its own for a moment yet
        gone.close()

    def _keep_below(self) -> None:
        """Hang up on the oldest who have asked for nothing, and on the newest of all where that does not do."""
        there = [connection for connection in self._connections.values() if not connection.hung_up]
        silent = [connection for connection in there if not connection.asked]
        more = max(len(silent) - self._most_silent, len(there) - self._most, 0)
        chosen = (silent + [connection for connection in reversed(there) if connection.asked])[:more]
        for connection in chosen:
            self.hang_up(connection, f"more than {self._most} connect, or half as many who ask for nothing")


def _events(monitor: "zmq.Socket[bytes]") -> Iterator[tuple[int, int, bytes]]:
    """What libzmq has told until now: kinds of events, each with its value and the endpoint."""
    while True:
        try:
            event, endpoint = monitor.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return
        yield (*struct.unpack("=Hi", event), endpoint)


def _inode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0
