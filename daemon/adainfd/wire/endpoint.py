"""Endpoints: their syntax, binding and connecting.

    tcp://HOST:PORT  HOST: an address, an interface, or * for all addresses; [HOST] for IPv6. PORT: 1 to 65535, or *.
                     Guarded by CURVE keys, or open to this box alone (check_local).
    ipc://PATH       PATH: a socket's path, relative or absolute, used literally: ~ and % are not expanded. Guarded by
                     the modes of the file and its folder.

Everything else is refused, including `ipc://@NAME` and `ipc://*`: libzmq creates no file for the first and puts the
second in a folder of its choice, so no file mode guards them. Left to itself, libzmq also binds a port over 65535
silently and replaces any existing file.
"""

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq

from adainf.base import files
from adainf.base.credentials import without_credentials
from adainf.base.errors import InvalidInputError

__all__ = [
    "Endpoint",
    "Format",
    "bind",
    "check",
    "check_local",
    "check_reachable",
    "connect",
    "is_ipc",
    "is_tcp",
    "unlink",
]

Format = Literal["json", "msgpack"]

_HIGHEST_PORT = 65535
_LONGEST_IPC_PATH = 107
_BACKLOG = 32
_ALLOWED = "must be tcp://ADDRESS:PORT with a port from 1 to 65535 (or * for any free one), or ipc://PATH"

_REASONS = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
    errno.ENODEV: "is not an address or interface of this machine",
    errno.EACCES: "may not be bound by this user",
    errno.EPERM: "may not be bound by this user",
    errno.EINVAL: f"is malformed; {_ALLOWED}",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to publish at, and the format of the messages there."""

    address: str
    format: Format = "json"


def check(endpoint: str, *, to_bind: bool = True) -> None:
    """Raise InvalidInputError unless `endpoint` is well formed; to_bind: whether it may contain `*`."""
    if is_ipc(endpoint):
        _check_path(endpoint)
        return
    match = re.fullmatch(r"tcp://(?P<host>\*|[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.%a-z]+\]):(?P<port>\*|[0-9]{1,9})", endpoint)
    if match is None:
        shown = without_credentials(endpoint)  # it may be a misplaced camera URL, with its password
        raise InvalidInputError(f"endpoint {shown!r}: is malformed; {_ALLOWED}")
    port = match["port"]
    if "*" in (match["host"], port) and not to_bind:
        raise InvalidInputError(f"endpoint {endpoint!r}: to connect, name an address and a port")
    if port != "*" and not 1 <= int(port) <= _HIGHEST_PORT:
        raise InvalidInputError(f"endpoint {endpoint!r}: port {port} must be from 1 to {_HIGHEST_PORT}")


def bind(zmq_socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind and return the endpoint with its actual port; raise InvalidInputError with the reason where that fails."""
    check(endpoint)
    if is_ipc(endpoint):
        return _bind_path(zmq_socket, endpoint)
    zmq_socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        zmq_socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise _cannot_bind(endpoint, error.errno or 0, str(error)) from None
    return zmq_socket.getsockopt_string(zmq.LAST_ENDPOINT)


def connect(zmq_socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Connect, now or once the peer is there; raise InvalidInputError on a malformed endpoint."""
    check(endpoint, to_bind=False)
    zmq_socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        zmq_socket.connect(endpoint)
    except zmq.ZMQError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be connected to ({error})")
        raise InvalidInputError(f"endpoint {endpoint!r}: {reason}") from None


def is_ipc(endpoint: str) -> bool:
    """Return whether the endpoint is a socket's path."""
    return endpoint.startswith("ipc://")


def is_tcp(endpoint: str) -> bool:
    """Return whether the endpoint is a port, which users of other boxes may reach."""
    return endpoint.startswith("tcp://")


def check_local(endpoint: str) -> None:
    """Raise InvalidInputError where programs outside this box can reach `endpoint`."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if not is_tcp(endpoint) or host in ("localhost", "lo"):
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise InvalidInputError(
        f"endpoint {without_credentials(endpoint)!r} is open to the network: give key and clients (adainfd keys new), "
        "or say unprotected = true in the configuration"
    )


def check_reachable(endpoint: str) -> None:
    """Raise InvalidInputError unless `endpoint` is well formed and can be connected to: it has no `*`."""
    check(endpoint, to_bind=False)


def unlink(bound: Iterable[str]) -> None:
    """Remove the socket files of endpoints while they are bound; keep a file that another process has put there."""
    for endpoint in bound:
        if is_ipc(endpoint) and _listener(_path(endpoint)) == os.getpid():
            with contextlib.suppress(OSError):
                _path(endpoint).unlink()


def _path(endpoint: str) -> Path:
    return Path(endpoint.removeprefix("ipc://"))


def _check_path(endpoint: str) -> None:
    text = endpoint.removeprefix("ipc://")
    if (wrong := _wrong_with(text)) is not None:
        raise InvalidInputError(f"endpoint {without_credentials(endpoint)!r}: {wrong}")


def _wrong_with(path: str) -> str | None:
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "the path is not UTF-8"
    if not 1 <= length <= _LONGEST_IPC_PATH:
        return f"the path must have 1 to {_LONGEST_IPC_PATH} bytes"
    if path[0] == "@":
        return "an abstract address has no file whose mode guards it; name a path (./@… where that is its name)"
    if path[0] == "*":
        return "libzmq would choose the path; name one (./*… where that is its name)"
    if not path.isprintable():
        return "the path must have printable characters alone"
    if path.rpartition("/")[2] in ("", ".", ".."):
        return "the path must end in the socket's name"
    return None


def _cannot_bind(endpoint: str, number: int, text: str) -> InvalidInputError:
    reason = _REASONS.get(number, f"cannot be bound ({text})")
    folder = _service_folder()
    own = f"; this service's own folder is {folder}" if folder is not None and number == errno.EACCES else ""
    return InvalidInputError(f"endpoint {endpoint!r}: {reason}{own}")


def _service_folder() -> Path | None:
    """Return the folder below /run that systemd made for this service; None outside a service."""
    folders = os.environ.get("RUNTIME_DIRECTORY", "").split(":")
    return Path(folders[0]) if folders[0] else None


def _bind_path(zmq_socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Listen at the path and pass the listener to libzmq, which would remove any existing file if it bound itself."""
    path = _path(endpoint)
    if not files.is_folder(path.parent, f"endpoint {endpoint!r}:"):
        raise InvalidInputError(f"endpoint {endpoint!r}: the folder {path.parent} does not exist")
    _remove_left_behind(endpoint, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(path))
        except OSError as error:
            raise _cannot_bind(endpoint, error.errno or 0, error.strerror or "") from None
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        _let_in(path)
        zmq_socket.setsockopt(zmq.USE_FD, listener.fileno())
        try:
            zmq_socket.bind(endpoint)
        except zmq.ZMQError as error:
            path.unlink()
            raise _cannot_bind(endpoint, error.errno or 0, str(error)) from None
        finally:
            zmq_socket.setsockopt(zmq.USE_FD, -1)
        listener.detach()  # libzmq closes it
    return endpoint


def _let_in(path: Path) -> None:
    """Open a socket in the service's own folder to everyone whom the folder's mode lets in.

    The service's umask would reserve it for root, and other services run as users of their own.
    """
    folder = _service_folder()
    if folder is None or not path.parent.is_relative_to(folder):
        return
    # Through a descriptor: the path may have been replaced meanwhile.
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            Path(f"/proc/self/fd/{descriptor}").chmod(0o777)
    finally:
        os.close(descriptor)


def _remove_left_behind(endpoint: str, path: Path) -> None:
    """Remove a stale socket, at which no process listens; raise InvalidInputError where anything else is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInputError(f"endpoint {endpoint!r}: {error.strerror}") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise InvalidInputError(f"endpoint {endpoint!r}: a file that is no socket is there already")
    if _listener(path) is not None:
        raise InvalidInputError(f"endpoint {endpoint!r}: is in use by another program")
    try:
        _remove_unless_used(path)
    except OSError as error:
        raise InvalidInputError(
            f"endpoint {endpoint!r}: a socket left behind there cannot be removed ({error.strerror})"
        ) from None


def _remove_unless_used(path: Path) -> None:
    """Remove a socket, or move back what has replaced it meanwhile; raise OSError where that fails."""
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".adainf-"))
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    moved = Path(f"/proc/self/fd/{descriptor}/s")  # short enough to connect to, however long `path` is
    try:
        path.rename(moved)
        if moved.is_dir() and not moved.is_symlink():
            moved.rename(path)
            return
        if not stat.S_ISSOCK(moved.lstat().st_mode) or _listener(moved) is not None:
            os.link(moved, path, follow_symlinks=False)
        moved.unlink()
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # not empty: it keeps what could not be moved back
            folder.rmdir()


def _listener(path: Path) -> int | None:
    """Return the ID of the process that listens at a socket: 0 if it is unknown, None if no process listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
            return int(struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError:
            return 0
