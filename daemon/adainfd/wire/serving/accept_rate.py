"""The rate of new connections: libzmq accepts them all, and each costs processor time and descriptors.

If no descriptor is left when libzmq accepts a connection at a path, it aborts the whole program.
"""

import contextlib
import ctypes
import os
import socket
import stat
import struct
from pathlib import Path

from adainfd.base.token_bucket import TokenBucket

__all__ = ["AcceptRate"]

_A_SECOND = 100.0
_PAUSE_SECONDS = 0.1
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# One instruction of the classic packet filter (BPF), `return 0`, which drops every packet.
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


class AcceptRate:
    """Allows a burst of connections, then 100 a second.

    Beyond that, the kernel drops SYN packets at ports, and clients repeat them. It has no filter for paths, where the
    socket's mode refuses all but its owner and root meanwhile. Not thread-safe.
    """

    def __init__(self, at_once: int, now: float) -> None:
        self._bucket = TokenBucket(at_once, _A_SECOND, now)
        self._listeners: list[socket.socket] = []
        self._paths: dict[int, int] = {}
        self.resumes_at: float | None = None
        """Monotonic time at which to call `resume`; None while connections are allowed."""

    def add(self, listener: socket.socket) -> None:
        """Apply the rate to this listening socket too; `close` closes it."""
        self._listeners.append(listener)

    def add_path(self, path: str) -> None:
        """Apply the rate to the socket at this path too."""
        with contextlib.suppress(OSError):  # it has been removed, so nobody can connect
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                self._paths[descriptor] = _mode(descriptor)
            else:
                os.close(descriptor)

    def connected(self, now: float) -> None:
        """Count a new connection."""
        self._bucket.earn(now)
        self._bucket.spend()
        if self._bucket.left < 0 and self.resumes_at is None:
            self.resumes_at = now + _PAUSE_SECONDS
            code = ctypes.create_string_buffer(_DROP_ALL)
            program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
            self._set(_SO_ATTACH_FILTER, program)
            for path in self._paths:
                self._paths[path] = _mode(path)
                _change_mode(path, self._paths[path] & stat.S_IWUSR)

    def charge(self, connections: float) -> None:
        """Charge for a closed connection as if `connections` new ones had connected."""
        self._bucket.spend(min(connections, max(0.0, self._bucket.left + _A_SECOND)))

    def resume(self, now: float) -> None:
        """Allow connections again, if it is time."""
        if self.resumes_at is None or now < self.resumes_at:
            return
        if self._bucket.earn(now) < 0:
            self.resumes_at = now + _PAUSE_SECONDS
            return
        self._open()

    def close(self) -> None:
        """Allow connections again and close our descriptors of the listening sockets."""
        if self.resumes_at is not None:
            self._open()
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            os.close(path)

    def _open(self) -> None:
        self.resumes_at = None
        self._set(_SO_DETACH_FILTER, bytes(4))
        for path, mode in self._paths.items():
            _change_mode(path, mode)

    def _set(self, option: int, value: bytes) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # a kernel without filters: surplus connections are closed instead
                listener.setsockopt(socket.SOL_SOCKET, option, value)


def _mode(descriptor: int) -> int:
    return stat.S_IMODE(os.fstat(descriptor).st_mode)


def _change_mode(descriptor: int, mode: int) -> None:
    """Change the mode of the open file, even if another one is at its path by now."""
    with contextlib.suppress(OSError):  # the file system may have become read-only
        Path(f"/proc/self/fd/{descriptor}").chmod(mode)
