"""Who comes in, told by plain ZeroMQ clients."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from adainfd.wire.gate import Curve
from adainfd.wire.keys import KeyPair
from adainfd.wire.publisher import Publisher
from daemons import await_true
from streams import Log, await_heard, hear, say

Connect = Callable[..., "zmq.Socket[bytes]"]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, KeyPair]:
    (tmp_path / "clients").mkdir()
    return {
        "box": KeyPair.new(tmp_path / "box"),
        "friend": KeyPair.new(tmp_path / "clients" / "friend"),
        "stranger": KeyPair.new(tmp_path / "stranger"),
    }


@pytest.fixture
def publisher(tmp_path: Path, keys: dict[str, KeyPair], log: Log) -> Iterator[Publisher]:
    """With a port, which is guarded, and a path, which is not."""
    curve = Curve.read(tmp_path / "box.key_secret", tmp_path / "clients", log)
    opened = Publisher(["tcp://127.0.0.1:*", f"ipc://{tmp_path}/s"], curve=curve)
    say(opened)
    yield opened
    opened.close()


def curve(server: KeyPair, client: KeyPair) -> dict[str, bytes]:
    """The options of a subscriber with these keys."""
    return {
        "curve_serverkey": server.public.encode(),
        "curve_publickey": client.public.encode(),
        "curve_secretkey": client.secret.encode(),
    }


def endpoint(publisher: Publisher, scheme: str) -> str:
    return next(bound for bound in publisher.endpoints if bound.startswith(scheme))


def test_a_client_with_an_allowed_key_comes_in(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], log: Log
) -> None:
    friend = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    assert hear(friend)["state"] == "ready"
    assert publisher.refused == 0
    assert log.lines == []


def test_a_path_is_open_to_whoever_may_open_it(publisher: Publisher, connect: Connect) -> None:
    reader = connect(endpoint(publisher, "ipc"))
    await_heard(publisher, reader)
    assert hear(reader)["state"] == "ready"


@pytest.mark.parametrize("who", ["stranger", "without keys", "mistaken"])
def test_others_are_refused_counted_and_logged(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], log: Log, who: str
) -> None:
    options = {
        "stranger": curve(keys["box"], keys["stranger"]),
        "without keys": {},
        "mistaken": curve(keys["stranger"], keys["friend"]),
    }
    port = endpoint(publisher, "tcp")
    refused = connect(port, reconnect_ivl=20, **options[who])
    await_true(lambda: publisher.refused, 10, "a refusal")
    friend = connect(port, **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    assert not refused.poll(100)
    event, values = log.lines[0]
    assert (event, values["refused"]) == ("client_refused", 1)
    if who == "stranger":
        assert (values["address"], values["key"]) == ("127.0.0.1", keys["stranger"].public)
    else:
        assert "handshake failed" in values["why"]


def test_many_refusals_are_all_counted_and_logged_seldom(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], log: Log
) -> None:
    for _ in range(30):
        connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["stranger"]))
    await_true(lambda: publisher.refused == 30, 10, "thirty refusals")
    assert len(log.lines) < 4
    publisher.close()
    assert log.lines[-1] == ("clients_refused", {"refused": 30})


def test_a_key_added_while_running_comes_in(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path
) -> None:
    (tmp_path / "stranger.key").rename(tmp_path / "clients" / "stranger.key")
    reader = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["stranger"]))
    await_heard(publisher, reader)


def test_a_client_whose_key_is_removed_is_hung_up_on_and_others_come_back(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path
) -> None:
    bound = publisher.endpoints
    (tmp_path / "stranger.key").rename(tmp_path / "clients" / "stranger.key")
    readers = {
        name: connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys[name])) for name in ("friend", "stranger")
    }
    for reader in readers.values():
        await_heard(publisher, reader)
    assert publisher.removed() == []
    (tmp_path / "clients" / "stranger.key").unlink()
    assert publisher.removed() == ["stranger"]
    for reader in readers.values():
        while reader.poll(100):
            reader.recv_multipart()
    publisher.reopen()
    assert publisher.endpoints == bound
    await_heard(publisher, readers["friend"])
    await_true(lambda: publisher.refused, 10, "a refusal")
    say(publisher, "now")
    assert not readers["stranger"].poll(200)
    assert publisher.removed() == []


def test_random_bytes_and_half_open_connections_leave_it_serving(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], log: Log
) -> None:
    port = endpoint(publisher, "tcp")
    address = ("127.0.0.1", int(port.rpartition(":")[2]))
    noise = random.Random(0)
    greeting = bytes([0xFF, *[0] * 8, 0x7F, 3, 0]) + b"CURVE".ljust(20, b"\0") + bytes(32)
    idle = [socket.create_connection(address) for _ in range(50)]
    for number in range(200):
        with socket.create_connection(address) as stranger:
            stranger.sendall((b"", greeting[:11], greeting)[number % 3] + noise.randbytes(noise.randrange(1, 3000)))
    friend = connect(port, **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    assert hear(friend)["state"] == "ready"
    assert len(log.lines) < 4
    for connection in idle:
        connection.close()


def test_no_secret_is_said(keys: dict[str, KeyPair], tmp_path: Path, log: Log) -> None:
    curve = Curve.read(tmp_path / "box.key_secret", tmp_path / "clients", log)
    assert keys["box"].secret not in repr(curve)
