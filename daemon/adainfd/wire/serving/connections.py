"""Limits on the connections to bound sockets: their number, and the bytes they send.

libzmq limits neither the connections it accepts nor the bytes it buffers. Its monitors identify each connection by its
file descriptor, through which this module measures and closes it.
"""

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable

import zmq

from adainf.base.hindrances import Watched
from adainfd.base.logs import Logger
from adainfd.wire.serving.accept_rate import AcceptRate
from adainfd.wire.serving.bounds import LONGEST_FRAME, MOST
from adainfd.wire.serving.connection import Connection, Reserve
from adainfd.wire.serving.memory import GiveBack
from adainfd.wire.serving.monitors import ACCEPTED, ENDED, LISTENING, Happened, Monitors

__all__ = ["Connections"]

# Cost of a connection closed for what it sent, as new connections held back.
_A_HANG_UP = 10.0
_LOG_EVERY_SECONDS = 10.0
_JOIN_SECONDS = 2.0
_OVERLONG = f"a frame of more than {LONGEST_FRAME} bytes"


class Connections:
    """Watches the connections of sockets in a thread of its own, since libzmq accepts while the program is busy.

    Thread-safe.
    """

    def __init__(self, log: Logger, *, most: int = MOST) -> None:
        """most: connections at once."""
        self.hung_up = 0
        """Connections closed so far by the limits."""
        self._log = log
        self._logged_at = -_LOG_EVERY_SECONDS
        self._most, self._most_silent = most, max(1, most // 2)
        self._failed: Callable[[], None] | None = None
        self._monitors = Monitors()
        self._connections: dict[tuple[int, int], Connection] = {}
        self._reserve = Reserve()
        self._grown = self._handshake_failed = False
        self._gone: list[Connection] = []
        self._lock = threading.RLock()
        # One for paths and one for ports, so that a flood at one delays nobody at the other.
        self._rates = tuple(AcceptRate(most, time.monotonic()) for _ in range(2))
        self._memory = GiveBack()
        self._epoll = select.epoll()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._woken, select.EPOLLIN)
        self._closed = False
        self.thread = Watched("connections", self._run)

    def watch(self, zmq_socket: "zmq.Socket[bytes]") -> None:
        """Watch a socket; call before it binds."""
        self._epoll.register(self._monitors.add(zmq_socket), select.EPOLLIN)

    def tell_failures(self, failed: Callable[[], None]) -> None:
        """Have `failed` called for each handshake that fails at a port; call before `open`."""
        self._failed = failed

    def open(self) -> None:
        """Start to enforce the limits."""
        self.settle()
        self.thread.start()

    def settle(self) -> list[Connection]:
        """Process the pending events; return the connections that have ended since the last call."""
        with self._lock:
            self._take_in(time.monotonic())
            gone, self._gone = self._gone, []
            return gone

    def heard(self, zmq_socket: "zmq.Socket[bytes]", descriptor: int, size: int) -> Connection | None:
        """Record a request of `size` bytes and return its connection; None where we have closed it, or it is gone."""
        with self._lock:
            connection = self._connections.get((id(zmq_socket), descriptor))
            if connection is None or connection.hung_up:
                return None
            connection.heard(size)
            return connection

    def hang_up(self, connection: Connection, why: str, *, costs: float = _A_HANG_UP) -> None:
        """Close a connection, count it and log it; costs: new connections held back for it."""
        with self._lock:
            if connection.hung_up:
                return
            address = connection.address
            self._end(connection)
            self._rates[connection.tcp].charge(costs)
            self._say(why, address)
        self._wake()

    def hang_up_at_ports(self) -> None:
        """Close every connection at a port; clients that are still allowed reconnect by themselves.

        Needs no descriptor. Every connection that has passed authentication is known: libzmq reports a connection
        before it asks the authenticator about it.
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
        """End the thread; call before the sockets are closed."""
        if self._epoll.closed:
            return
        if not self.thread.alive:  # libzmq blocks while its queue of events is full
            list(self._monitors.happened())
        self._monitors.stop()
        self.thread.leave()
        self._closed = True
        self._wake()
        self.thread.join(_JOIN_SECONDS)
        self._monitors.close()
        for connection in self._connections.values():
            connection.close()
        for rate in self._rates:
            rate.close()
        self._reserve.close()
        self._epoll.close()
        os.close(self._woken)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def _run(self) -> None:
        while not self._closed:
            ready = self._epoll.poll(self._patience())
            with self._lock:
                self._turn([descriptor for descriptor, _ in ready], time.monotonic())
            self._memory.turn(time.monotonic())

    def _patience(self) -> float | None:
        dues = [due for due in (*(rate.resumes_at for rate in self._rates), self._memory.due) if due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _turn(self, ready: list[int], now: float) -> None:
        if self._woken in ready:
            os.eventfd_read(self._woken)
        self._take_in(now)
        sending = {connection.fileno(): connection for connection in self._connections.values()}
        for descriptor in ready:
            connection = sending.get(descriptor)
            if connection is not None and not connection.hung_up and connection.sends_too_much(now):
                self.hang_up(connection, "it sends more than subscriptions need")
        for rate in self._rates:
            rate.resume(now)

    def _take_in(self, now: float) -> None:
        events, held = self._happened(now)
        ends = {event.key: number for number, event in enumerate(events) if event.kind == ENDED}
        for number, event in enumerate(events):
            if event.kind == ACCEPTED:
                self._accepted(event, held[number], now, is_over=ends.get(event.key, -1) > number)
            elif event.kind == ENDED:
                self._ended(event)
            elif event.kind == LISTENING:
                self._listening(event)
            else:
                self._handshake_failed = True  # the next event identifies the connection
                if event.tcp and self._failed is not None:
                    self._failed()
        if self._grown:
            self._grown = False
            self._keep_below()

    def _happened(self, now: float) -> tuple[list[Happened], dict[int, Connection | int]]:
        """Return the events so far, and our handle of each accepted connection by the number of its event.

        libzmq may close a connection before we hold it, and its descriptor may be another's by then. It reports the
        end before it closes: our handle is of the connection itself unless that event has arrived once we hold it.
        """
        events: list[Happened] = []
        held: dict[int, Connection | int] = {}
        while batch := self._monitors.happened():
            for event in batch:
                if event.kind == ACCEPTED:
                    held[len(events)] = _hold(event, now)
                events.append(event)
        return events, held

    def _listening(self, event: Happened) -> None:
        listener = socket.socket(fileno=os.dup(event.descriptor))
        listener.setblocking(False)  # a connection that has ended meanwhile must not block libzmq in accept()
        if event.tcp:
            self._rates[True].add(listener)
        else:
            self._rates[False].add_path(listener.getsockname())
            listener.close()

    def _accepted(self, event: Happened, held: Connection | int, now: float, *, is_over: bool) -> None:
        self._rates[event.tcp].connected(now)
        if isinstance(held, int):
            if held and not is_over:
                self._reserve.hang_up(event.descriptor, held)
                self._say("no file descriptor is left for it", "unknown")
        elif is_over:
            held.close()
        else:
            self._connections[event.key] = held
            self._grown = True
            self._epoll.register(held.fileno(), select.EPOLLIN | select.EPOLLET)

    def _ended(self, event: Happened) -> None:
        """Handle a connection that libzmq has closed: the peer left, it sent malformed data, or we closed it."""
        failed, self._handshake_failed = self._handshake_failed, False
        self._memory.soon(time.monotonic())  # libzmq frees its memory only now
        if (gone := self._connections.pop(event.key, None)) is None:
            return
        if not gone.hung_up:
            self._gone.append(gone)
            counted = failed and gone.tcp and self._failed is not None
            if not counted and not gone.left_by_the_other:
                self._rates[event.tcp].charge(_A_HANG_UP)
                self._say("its handshake failed" if failed else _OVERLONG, gone.address)
        self._epoll.unregister(gone)  # closing ours does not: libzmq may hold its own a little longer
        gone.close()

    def _keep_below(self) -> None:
        """Close the oldest connections without a subscription and, where that is not enough, the newest with one."""
        open_now = [connection for connection in self._connections.values() if not connection.hung_up]
        silent = [connection for connection in open_now if not connection.asked]
        excess = max(len(silent) - self._most_silent, len(open_now) - self._most, 0)
        candidates = silent + [connection for connection in reversed(open_now) if connection.asked]
        costs = _A_HANG_UP if len(open_now) > self._most else 0.0  # do not hold readers back while there is room
        for connection in candidates[:excess]:
            self.hang_up(
                connection,
                f"more than {self._most} connections, or more than {self._most_silent} without a subscription",
                costs=costs,
            )


def _hold(event: Happened, now: float) -> Connection | int:
    """Return the connection; the inode of its socket where no descriptor is left to hold it; 0 where it has ended."""
    try:
        return Connection(event.descriptor, now, tcp=event.tcp)
    except OSError as error:
        return _inode(event.descriptor) if error.errno in (errno.EMFILE, errno.ENFILE) else 0


def _inode(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0
