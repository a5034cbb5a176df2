"""A connection that libzmq has accepted: counts its bytes, and closes it."""

import contextlib
import os
import select
import socket
import struct
import termios
from fcntl import ioctl

from adainfd.base.token_bucket import TokenBucket

__all__ = ["Connection", "Reserve"]

# Bytes that libzmq does not pass on to us: pings (about 25 a second), and the parts of a message that has not ended.
_UNHEARD_AT_ONCE, _UNHEARD_A_SECOND = 48 * 1024, 64.0
# Bytes that CURVE and framing add to a request.
_OVERHEAD = 64
_TCP_BYTES_RECEIVED = 128  # offset in tcp_info
_LINGER_NOT = struct.pack("ii", 1, 0)


class Connection:
    """A connection, held by a descriptor of our own, since libzmq may close its own at any moment.

    Closing it is a shutdown, which libzmq sees as the peer leaving, and which needs no further descriptor.
    """

    def __init__(self, descriptor: int, now: float, *, tcp: bool) -> None:
        """descriptor: libzmq's. now: seconds. Raises OSError where no descriptor is left, or it is not a socket."""
        self.descriptor, self.tcp = descriptor, tcp
        self.asked = self.hung_up = False
        """Whether it has subscribed to a topic; whether we have closed it."""
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
        """The peer as text: HOST:PORT, or its process and user where it connected to a path."""
        try:
            if self._socket.family == socket.AF_UNIX:
                credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                process, user, _ = struct.unpack("3i", credentials)
                return f"process {process} of user {user}"
            host, port = self._socket.getpeername()[:2]
        except OSError:
            return "gone"
        return f"{host}:{port}"

    @property
    def left_by_the_other(self) -> bool:
        """Whether the peer has closed the connection."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def heard(self, size: int) -> None:
        """Record a request of `size` bytes, which libzmq has passed on."""
        self.asked = True
        self._unheard.give(size + _OVERHEAD)

    def sends_too_much(self, now: float) -> bool:
        """Return whether the peer has sent more bytes than its requests and the allowance for other bytes cover."""
        try:
            received = self._bytes_received()
        except OSError:
            return False  # the connection is gone
        self._unheard.earn(now)
        self._unheard.spend(received - self._received)
        self._received = received
        return self._unheard.left < 0

    def _bytes_received(self) -> int:
        """Return the bytes received so far; at a path, where the kernel keeps no count, an estimate.

        The estimate adds the bytes that wait to be read, or a few where they have been read already.
        """
        if not self.tcp:
            waiting = struct.unpack("i", ioctl(self._socket, termios.FIONREAD, bytes(4)))[0]
            return self._received + max(int(waiting), _OVERHEAD)
        tcp_info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_BYTES_RECEIVED + 8)
        return int(struct.unpack_from("Q", tcp_info, _TCP_BYTES_RECEIVED)[0])

    def hang_up(self) -> None:
        """Shut the connection down; what the kernel has queued is not sent any more."""
        self.hung_up = True
        _shut_down(self._socket)

    def close(self) -> None:
        """Close our own descriptor."""
        self._socket.close()


class Reserve:
    """A spare descriptor, to close a connection when no other descriptor is left."""

    def __init__(self) -> None:
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._reserve = os.dup(self._nothing)

    def hang_up(self, descriptor: int, inode: int) -> None:
        """Shut down a connection of libzmq's, unless its descriptor refers to another file by now."""
        with contextlib.suppress(OSError):  # the connection is gone
            os.dup2(descriptor, self._reserve, inheritable=False)
            if os.fstat(self._reserve).st_ino == inode:
                connection = socket.socket(fileno=self._reserve)
                _shut_down(connection)
                connection.detach()
        os.dup2(self._nothing, self._reserve, inheritable=False)

    def close(self) -> None:
        """Release the spare descriptor."""
        os.close(self._reserve)
        os.close(self._nothing)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer closed first
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        connection.shutdown(socket.SHUT_RDWR)
