"""One direction of the message channel between the daemon and a camera process: a pipe.

A pipe carries bytes only. A socket could carry descriptors too, and closing one that arrived uninvited may block, as a
lingering TCP socket does.
"""

import array
import fcntl
import os
import select
import termios
import time

__all__ = ["MOST_BYTES", "MalformedError", "Receiver", "Sender"]

MOST_BYTES = 16384
"""Limit of one message. The longest legitimate one, a frame report with its sketch, has 5.5 kB."""

_LENGTH_BYTES = 4


class MalformedError(Exception):
    """A violation of the protocol by the other side; the message continues "its process …"."""


class Receiver:
    """The reading end. Each message is preceded by its length as four bytes, little-endian."""

    def __init__(self, descriptor: int, *, blocking: bool = True, most_reads: int | None = None) -> None:
        """descriptor: owned by this object from now on. most_reads: limit on successful reads per second."""
        os.set_blocking(descriptor, blocking)
        self._descriptor = descriptor
        self._most_reads = most_reads
        self._reads = 0
        self._second = 0.0
        self._wanted: int | None = None
        self._part = b""

    def fileno(self) -> int:
        """Return the descriptor, which is readable when there is something to receive."""
        return self._descriptor

    def poll(self, seconds: float | None = 0.0) -> bool:
        """Return whether there is something to receive within `seconds`; None waits forever."""
        events = select.poll()
        events.register(self._descriptor, select.POLLIN)
        return bool(events.poll(None if seconds is None else max(0.0, 1000 * seconds)))

    def receive(self) -> bytes | None:
        """Return the next message; None if there is none yet, or only a part.

        Reads twice at most, so a peer that writes byte by byte cannot block the caller. Raises EOFError if the other
        side is gone, MalformedError if a message is empty or too long, or messages come too fast.
        """
        if self._wanted is None:
            self._read(_LENGTH_BYTES)
            if len(self._part) < _LENGTH_BYTES:
                return None
            self._wanted, self._part = int.from_bytes(self._part, "little"), b""
            if not 0 < self._wanted <= MOST_BYTES:
                raise MalformedError(f"announced a message of {self._wanted} bytes; at most {MOST_BYTES} are read")
        self._read(self._wanted)
        if len(self._part) < self._wanted:
            return None
        message, self._wanted, self._part = self._part, None, b""
        return message

    def _read(self, size: int) -> None:
        try:
            data = os.read(self._descriptor, size - len(self._part))
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        self._part += data
        if self._most_reads is not None:
            self._count_read(self._most_reads)

    def _count_read(self, most: int) -> None:
        now = time.monotonic()
        if now - self._second >= 1.0:
            self._second, self._reads = now, 0
        self._reads += 1
        if self._reads > most:
            raise MalformedError("sends more messages a second than any camera has frames")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)


class Sender:
    """The writing end."""

    def __init__(self, descriptor: int, *, blocking: bool = True) -> None:
        """descriptor: owned by this object from now on."""
        os.set_blocking(descriptor, blocking)
        self._descriptor = descriptor
        self._capacity: int = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)

    def send(self, message: bytes) -> None:
        """Write a message.

        Raises BrokenPipeError if the reader is gone, BlockingIOError if the pipe is non-blocking and full.
        """
        data = len(message).to_bytes(_LENGTH_BYTES, "little") + message
        while data:
            data = data[os.write(self._descriptor, data) :]

    @property
    def is_heard(self) -> bool:
        """Whether the reader keeps up: at most half the pipe's capacity is unread, so `send` does not block."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._descriptor, termios.FIONREAD, unread)
        return 2 * unread[0] <= self._capacity

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
