"""The connections that libzmq holds for this process, of which it tells no more than that they are there."""

import contextlib
import os
import socket
import stat
from collections.abc import Collection
from pathlib import Path

__all__ = ["hang_up"]

_OPEN = Path("/proc/self/fd")


def hang_up(bound: Collection[str]) -> None:
    """Hang up on everyone who came in at one of these endpoints; from now on nothing reaches them.

    What libzmq listens with, and connections at other endpoints, stay as they are. libzmq takes the end of a connection
    for that of the other side. A connection counts from the moment libzmq accepts it, before its handshake: nobody who
    was allowed in earlier can slip in afterwards.
    """
    for entry in list(_OPEN.iterdir()):
        with contextlib.suppress(OSError):  # closed meanwhile, or hung up by the other side
            # A descriptor of our own: its number may become that of something else at any moment.
            own = os.dup(int(entry.name))
            try:
                _shut_down(own, bound)
            finally:
                os.close(own)


def _shut_down(descriptor: int, bound: Collection[str]) -> None:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    connection = socket.socket(fileno=descriptor)
    try:
        listens = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if connection.type == socket.SOCK_STREAM and not listens and _came_in_at(connection, bound):
            connection.shutdown(socket.SHUT_RDWR)
    finally:
        connection.detach()


def _came_in_at(connection: socket.socket, bound: Collection[str]) -> bool:
    """Whether its own end is one of the endpoints: a port by its number, since many addresses may lead there."""
    name = connection.getsockname()
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        ports = {endpoint.rpartition(":")[2] for endpoint in bound if endpoint.startswith("tcp://")}
        return str(name[1]) in ports
    if connection.family == socket.AF_UNIX:
        path = os.fsdecode(name)
        return bool(path) and f"ipc://{path.replace(chr(0), '@', 1)}" in bound
    return False
