"""How many may connect to the ports each second: libzmq accepts everybody, and each costs processor time."""

import contextlib
import ctypes
import socket
import struct

__all__ = ["AcceptRate"]

_A_SECOND = 100.0
_PAUSE_SECONDS = 0.1
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
# One instruction of the classic packet filter: return 0, so that nothing comes through.
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)


class AcceptRate:
    """Lets so many connect at once, then 100 a second; beyond that the kernel drops what asks, which asks again.

    A token bucket. Not thread-safe.
    """

    def __init__(self, at_once: int, now: float) -> None:
        self._at_once, self._tokens, self._at = at_once, float(at_once), now
        self._listeners: list[socket.socket] = []
        self.resumes_at: float | None = None
        """Monotonic time at which `resume` has something to do; None while everybody may connect."""

    def add(self, listener: socket.socket) -> None:
        """Hold back those who connect to this listening socket too; closed by `close`."""
        self._listeners.append(listener)

    def connected(self, now: float) -> None:
        """Somebody has connected to a port."""
        self._earn(now)
        self._tokens -= 1
        if self._tokens < 0 and self.resumes_at is None:
            self.resumes_at = now + _PAUSE_SECONDS
            code = ctypes.create_string_buffer(_DROP_ALL)
            program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
            self._set(_SO_ATTACH_FILTER, program)

    def charge(self, connections: float) -> None:
        """Somebody was hung up on: those who come next wait as if so many had connected."""
        self._tokens = max(-_A_SECOND, self._tokens - connections)

    def resume(self, now: float) -> None:
        """Let others connect again, if it is time."""
        if self.resumes_at is None or now < self.resumes_at:
            return
        self._earn(now)
        if self._tokens < 0:
            self.resumes_at = now + _PAUSE_SECONDS
            return
        self.resumes_at = None
        self._set(_SO_DETACH_FILTER, bytes(4))

    def close(self) -> None:
        """Close our descriptors of the listening sockets."""
        for listener in self._listeners:
            listener.close()

    def _earn(self, now: float) -> None:
        self._tokens = min(self._at_once, self._tokens + _A_SECOND * (now - self._at))
        self._at = now

    def _set(self, option: int, value: bytes) -> None:
        for listener in self._listeners:
            with contextlib.suppress(OSError):  # a kernel without filters: too many are hung up on instead
                listener.setsockopt(socket.SOL_SOCKET, option, value)
