"""One connection, and the descriptor that is kept to end one where no other is left."""

import os
import socket
from pathlib import Path

import pytest
from adainfd.wire.serving.connection import Connection, Reserve
from daemons import descriptors


def test_a_descriptor_that_is_another_file_by_now_is_left_alone() -> None:
    reserve = Reserve()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reserve.hang_up(ours.fileno(), os.fstat(theirs.fileno()).st_ino)
        ours.send(b"on")
        assert theirs.recv(2) == b"on"
        reserve.hang_up(ours.fileno(), os.fstat(ours.fileno()).st_ino)
        assert theirs.recv(2) == b""
    reserve.hang_up(ours.fileno(), 0)  # closed
    reserve.close()


def test_what_is_no_socket_is_no_connection() -> None:
    before = descriptors(os.getpid())
    with Path(os.devnull).open("rb") as file, pytest.raises(OSError, match="non-socket"):
        Connection(file.fileno(), 0.0, tcp=False)
    assert descriptors(os.getpid()) == before


def test_a_connection_is_ended_however_its_own_descriptor_was_closed() -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(ours.fileno(), 0.0, tcp=False)
    ours.close()
    assert not connection.left_by_the_other
    assert connection.address == f"process {os.getpid()} of user {os.geteuid()}"
    connection.hang_up()
    assert theirs.recv(2) == b""
    theirs.close()
    assert connection.left_by_the_other
    connection.hang_up()  # again, of one that is gone
    connection.close()
