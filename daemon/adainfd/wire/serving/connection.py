"""One connection that libzmq has accepted: counts its bytes, and closes it."""

import contextlib
import os
import select
import socket
import struct
import termios
from fcntl import ioctl

from adainfd.base.token_bucket import TokenBucket

__all__ = ["Connection", "Reserve"]

# Bytes that libzmq does not hand on to us: pings (some 25 a second), and the parts of a message that has not ended.
_UNHEARD_AT_ONCE, _UNHEARD_A_SECOND = 48 * 1024, 64.0
# What CURVE and the framing add to a request.
_OVERHEAD = 64
_TCP_BYTES_RECEIVED = 128  # in tcp_info
_LINGER_NOT = struct.pack("ii", 1, 0)


class Connection:
    """A connection, held by a descriptor of our own: libzmq may close its own at any moment.

    Ending it is a shutdown, which libzmq takes for the end of the other side and which needs no further descriptor.
    """

    def __init__(self, descriptor: int, now: float, *, tcp: bool) -> None:
        """descriptor: libzmq's. now: seconds. Raises OSError where no descriptor is left, or it is no socket."""
        self.descriptor, self.tcp = descriptor, tcp
        self.asked = self.hung_up = False
        """Whether it has subscribed to something; whether it was hung up on."""
        own = os.dup(descriptor)
        try:
            self._socket = socket.socket(fileno=own)
        except OSError:
            os.close(own)
            raise
        self._received = 0
        self._unheard = TokenBucket(_UNHEARD_AT_ONCE, _UNHEARD_A_SECOND, now)

    def fileno(self) -> int:
        """Our own descriptor."""
        return self._socket.fileno()

    @property
    def address(self) -> str:
        """The other end in words: HOST:PORT, or the process and the user at a path."""
        try:
            if self._socket.family == socket.AF_UNIX:
                told = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                process, user, _ = struct.unpack("3i", told)
                return f"process {process} of user {user}"
            host, port = self._socket.getpeername()[:2]
        except OSError:
            return "gone"
        return f"{host}:{port}"

    @property
    def left_by_the_other(self) -> bool:
        """Whether the other end has closed it."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def heard(self, size: int) -> None:
        """A request of `size` bytes has come: these bytes were passed on."""
        self.asked = True
        self._unheard.give(size + _OVERHEAD)

    def sends_too_much(self, now: float) -> bool:
        """Whether more bytes have come that were not passed on than may."""
        try:
            received = self._bytes_received()
        except OSError:
            return False  # it is gone
        self._unheard.earn(now)
        self._unheard.spend(received - self._received)
        self._received = received
        return self._unheard.left < 0

    def _bytes_received(self) -> int:
        """At a path the kernel counts none: then those that wait now, or a few where they are read already."""
        if not self.tcp:
            waiting = struct.unpack("i", ioctl(self._socket, termios.FIONREAD, bytes(4)))[0]
            return self._received + max(int(waiting), _OVERHEAD)
        told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_BYTES_RECEIVED + 8)
        return int(struct.unpack_from("Q", told, _TCP_BYTES_RECEIVED)[0])

    def hang_up(self) -> None:
        """End it; nothing that waits in the kernel goes out any more."""
        self.hung_up = True
        _shut_down(self._socket)

    def close(self) -> None:
        """Close our own descriptor."""
        self._socket.close()


class Reserve:
    """A descriptor that is kept free, to hang up on a connection for which no other is left."""

    def __init__(self) -> None:
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._reserve = os.dup(self._nothing)

    def hang_up(self, descriptor: int, inode: int) -> None:
        """End a connection of libzmq's, unless its descriptor is that of another file by now."""
        with contextlib.suppress(OSError):  # it is gone
            os.dup2(descriptor, self._reserve, inheritable=False)
            if os.fstat(self._reserve).st_ino == inode:
                connection = socket.socket(fileno=self._reserve)
                _shut_down(connection)
                connection.detach()
        os.dup2(self._nothing, self._reserve, inheritable=False)

    def close(self) -> None:
        """Give the descriptor away."""
        os.close(self._reserve)
        os.close(self._nothing)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end was faster
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        connection.shutdown(socket.SHUT_RDWR)
