"""Endpoints: checked before libzmq sees them, for it binds a port over 65535 silently and replaces any file."""

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq

from adainf import files
from adainf.credentials import without_credentials
from adainf.errors import InvalidInputError

__all__ = ["Endpoint", "Format", "bind", "check", "check_local", "check_reachable", "connect", "is_tcp", "unlink"]

Format = Literal["json", "msgpack"]

_HIGHEST_PORT = 65535
_LONGEST_IPC_PATH = 107
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
    """Where messages go out, and as what."""

    address: str
    format: Format = "json"


def check(endpoint: str, *, to_bind: bool = True) -> None:
    """Raise InvalidInputError unless `endpoint` is well formed; to_bind: whether `*` may stand in it."""
    if endpoint.startswith("ipc://"):
        path = endpoint.removeprefix("ipc://")
        if not path or len(path.encode()) > _LONGEST_IPC_PATH:
            raise InvalidInputError(f"endpoint {endpoint!r}: the path must have 1 to {_LONGEST_IPC_PATH} bytes")
        return
    match = re.fullmatch(r"tcp://(?P<host>\*|[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.%a-z]+\]):(?P<port>\*|[0-9]{1,9})", endpoint)
    if match is None:
        shown = without_credentials(endpoint)  # it may be a camera's address in the wrong place
        raise InvalidInputError(f"endpoint {shown!r}: is malformed; {_ALLOWED}")
    port = match["port"]
    if "*" in (match["host"], port) and not to_bind:
        raise InvalidInputError(f"endpoint {endpoint!r}: to connect, name an address and a port")
    if port != "*" and not 1 <= int(port) <= _HIGHEST_PORT:
        raise InvalidInputError(f"endpoint {endpoint!r}: port {port} must be from 1 to {_HIGHEST_PORT}")


def bind(zmq_socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Bind and return the endpoint with the port that was taken; raises InvalidInputError saying what hinders."""
    check(endpoint)
    if endpoint.startswith("ipc://"):
        _check_ipc_path(endpoint, Path(endpoint.removeprefix("ipc://")))
    zmq_socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        zmq_socket.bind(endpoint)
    except zmq.ZMQError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be bound ({error})")
        own = f"; this service's own folder is {folder}" if (folder := _service_folder()) is not None else ""
        raise InvalidInputError(
            f"endpoint {endpoint!r}: {reason}{own if error.errno == errno.EACCES else ''}"
        ) from None
    bound = zmq_socket.getsockopt_string(zmq.LAST_ENDPOINT)
    _let_in(Path(bound.removeprefix("ipc://")))
    return bound


def connect(zmq_socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Connect; who is not there yet is waited for. Raises InvalidInputError on a malformed endpoint."""
    check(endpoint, to_bind=False)
    zmq_socket.setsockopt(zmq.IPV6, "[" in endpoint)
    try:
        zmq_socket.connect(endpoint)
    except zmq.ZMQError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be connected to ({error})")
        raise InvalidInputError(f"endpoint {endpoint!r}: {reason}") from None


def is_tcp(endpoint: str) -> bool:
    """Whether it is a port, which others than this box's users may reach."""
    return endpoint.startswith("tcp://")


def check_local(endpoint: str) -> None:
    """Raise InvalidInputError where others than programs on this box can reach `endpoint`."""
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
    """Raise InvalidInputError unless `endpoint` is well formed and names what one can connect to."""
    check(endpoint, to_bind=False)


def unlink(bound: Iterable[str]) -> None:
    """Remove the socket files of endpoints that are bound here: libzmq leaves them behind."""
    for endpoint in bound:
        if endpoint.startswith("ipc://") and not endpoint.startswith("ipc://@"):
            with contextlib.suppress(OSError):
                Path(endpoint.removeprefix("ipc://")).unlink()


def _service_folder() -> Path | None:
    """The folder below /run that systemd made for this service, if it runs as one."""
    folders = os.environ.get("RUNTIME_DIRECTORY", "").split(":")
    return Path(folders[0]) if folders[0] else None


def _let_in(bound: Path) -> None:
    """A socket in the service's own folder is for everyone whom the folder's mode lets in.

    The service's umask would leave it to root, and other services have users of their own.
    """
    folder = _service_folder()
    if folder is not None and bound.parent.is_relative_to(folder) and bound.is_socket():
        bound.chmod(0o777)


def _check_ipc_path(endpoint: str, path: Path) -> None:
    if path.name.startswith("@"):
        return
    if not files.is_folder(path.parent, f"endpoint {endpoint!r}:"):
        raise InvalidInputError(f"endpoint {endpoint!r}: the folder {path.parent} does not exist")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInputError(f"endpoint {endpoint!r}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise InvalidInputError(f"endpoint {endpoint!r}: a file that is no socket is there already")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return  # left behind by a program that has ended
        except OSError as error:
            raise InvalidInputError(f"endpoint {endpoint!r}: {error.strerror}") from None
    raise InvalidInputError(f"endpoint {endpoint!r}: is in use by another program")
