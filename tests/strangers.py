"""Those who speak to a ZeroMQ port byte by byte, as no library would, and do not mean well."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SUBSCRIBE, UNSUBSCRIBE = b"\x01", b"\x00"
MORE, LONG, COMMAND = 1, 2, 4


def greeting(mechanism: bytes = b"NULL", version: bytes = b"\x03\x00") -> bytes:
    """What each side says first (RFC 23)."""
    return b"\xff" + bytes(8) + b"\x7f" + version + mechanism.ljust(20, b"\0") + bytes(32)


def frame(body: bytes, flags: int = 0) -> bytes:
    """A frame of ZMTP 3."""
    if len(body) < 256 and not flags & LONG:
        return bytes([flags, len(body)]) + body
    return bytes([flags | LONG]) + len(body).to_bytes(8, "big") + body


READY = frame(b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB", COMMAND)


def connected(endpoint: str, seconds: float = 5.0) -> socket.socket:
    """A connection that has said nothing."""
    if endpoint.startswith("ipc://"):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(Path(endpoint.removeprefix("ipc://"))))
        stranger.settimeout(seconds)
    else:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        stranger = socket.create_connection((host, int(port)), seconds)
    return stranger


def subscriber(endpoint: str) -> socket.socket:
    """A connection that has shaken hands as a subscriber without keys; raises OSError where nobody lets it."""
    stranger = connected(endpoint)
    try:
        stranger.sendall(greeting() + READY)
        heard = b""
        while b"Socket-Type" not in heard:
            heard += (more := stranger.recv(4096))
            if not more:
                raise ConnectionResetError
    except OSError:
        stranger.close()
        raise
    return stranger


def is_hung_up_on(stranger: socket.socket, seconds: float = 10.0) -> bool:
    """Whether the other end closes the connection within that time; what comes before is thrown away."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        stranger.settimeout(left)
        try:
            if not stranger.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def floods_until_hung_up_on(stranger: socket.socket, what: bytes, seconds: float = 10.0) -> bool:
    """Send it again and again; whether the other end closes the connection within that time."""
    end, rest = time.monotonic() + seconds, what
    stranger.settimeout(0.05)
    while time.monotonic() < end:
        try:
            rest = rest[stranger.send(rest) :] or what
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def again_and_again(attempt: Callable[[], None], until: float) -> None:
    """Repeat an attempt until that monotonic time, whatever hinders it."""
    while time.monotonic() < until:
        try:
            attempt()
        except OSError:
            time.sleep(0.001)


@contextlib.contextmanager
def held(endpoint: str, count: int) -> Iterator[list[socket.socket]]:
    """As many of so many connections as come about; they say nothing."""
    strangers: list[socket.socket] = []
    try:
        for _ in range(count):
            with contextlib.suppress(TimeoutError):  # a rush is held back
                strangers.append(connected(endpoint, 1.5))
        yield strangers
    finally:
        for stranger in strangers:
            stranger.close()
