"""Who comes in, told by plain ZeroMQ clients."""

import contextlib
import os
import random
import re
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from adainfd.wire.keys import KeyPair
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from streams import Log, await_heard, hear, say
from zmq.utils import z85

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
    curve = CurveServer.read(tmp_path / "box.key_secret", tmp_path / "clients", log)
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


def drain(reader: "zmq.Socket[bytes]") -> None:
    """Read all that has come."""
    while reader.poll(100):
        reader.recv_multipart()


Removal = Callable[[Path], object]


def by_another_file_in_its_place(clients: Path) -> None:
    """Of the same name, size, times and inode, with another key: as by `cp -p` over a file."""
    file = clients / "stranger.key"
    before = file.stat()
    file.write_bytes(re.sub(rb'"[^"]*"', b'"' + b"A" * 40 + b'"', file.read_bytes()))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def by_a_link_to_another_folder(clients: Path) -> None:
    """In place of the folder, which the daemon may still hold open."""
    spare = clients.with_name("spare")
    shutil.copytree(clients, spare)
    (spare / "stranger.key").unlink()
    clients.rename(clients.with_name("before"))
    clients.symlink_to(spare)


REMOVALS: dict[str, Removal] = {
    "deleted": lambda clients: (clients / "stranger.key").unlink(),
    "renamed away": lambda clients: (clients / "stranger.key").rename(clients / "stranger.key.off"),
    "no key any more": lambda clients: (clients / "stranger.key").write_bytes(b"\xff" * 100),
    "a folder of that name": lambda clients: (
        (clients / "stranger.key").unlink(),
        (clients / "stranger.key").mkdir(),
    ),
    "another key in it": by_another_file_in_its_place,
    "another folder": by_a_link_to_another_folder,
    "deleted beside a file that holds no key": lambda clients: (
        (clients / "stranger.key").unlink(),
        (clients / "broken.key").write_text("no key"),
        (clients / os.fsdecode(b"\xff\xfe.key")).write_text("no key"),
        os.mkfifo(clients / "pipe.key"),
    ),
}


@pytest.mark.parametrize("how", REMOVALS)
def test_a_client_whose_key_is_removed_is_hung_up_on_and_others_come_back(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path, log: Log, how: str
) -> None:
    clients = tmp_path / "clients"
    (tmp_path / "stranger.key").rename(clients / "stranger.key")
    local = connect(endpoint(publisher, "ipc"))
    readers = {
        name: connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys[name])) for name in ("friend", "stranger")
    }
    for reader in (local, *readers.values()):
        await_heard(publisher, reader)
    assert publisher.revoke() == []
    REMOVALS[how](clients)
    assert publisher.revoke() == ["stranger"]
    for reader in (local, *readers.values()):
        drain(reader)
    await_heard(publisher, readers["friend"])
    await_true(lambda: publisher.refused, 10, "a refusal")
    drain(local)
    say(publisher, "now")
    assert hear(local)["detail"] == "now"  # it was left alone
    assert not readers["stranger"].poll(100)
    assert publisher.revoke() == []
    assert ("clients_removed", {"clients": ["stranger"]}) in log.lines


def test_nobody_slips_in_while_a_key_is_taken_away(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path
) -> None:
    inside, outside = tmp_path / "clients" / "stranger.key", tmp_path / "stranger.key"
    readers = []
    heard: list[bytes] = []
    for number in range(8):
        outside.rename(inside)
        # In all stages of their handshakes.
        for _ in range(5):
            reader = connect(endpoint(publisher, "tcp"), reconnect_ivl=1, **curve(keys["box"], keys["stranger"]))
            readers.append(reader)
            publisher.resend_last()
            reader.poll(number)
        inside.rename(outside)
        publisher.revoke()
        for _ in range(5):
            publisher.resend_last()
            say(publisher, "secret")
            readers[-1].poll(5)
        for reader in readers:
            while reader.poll(0):
                heard.append(reader.recv_multipart()[1])
        say(publisher, "open")
    assert not any(b"secret" in message for message in heard)
    assert publisher.gate is not None
    assert publisher.gate.hindrance is None


def test_without_a_folder_of_clients_nobody_may_read(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path, log: Log
) -> None:
    port = endpoint(publisher, "tcp")
    friend = connect(port, **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    shutil.rmtree(tmp_path / "clients")
    # Without anybody who asks for it.
    await_true(lambda: any(event == "clients_removed" for event, _ in log.lines), 10, "revocation")
    drain(friend)
    say(publisher, "now")
    await_true(lambda: publisher.refused, 10, "a refusal")
    assert not friend.poll(100)
    assert publisher.gate is not None
    assert "nobody may come in" in str(publisher.gate.hindrance)
    (tmp_path / "clients").mkdir()
    KeyPair.new(tmp_path / "clients" / "other")
    await_true(lambda: publisher.gate.hindrance is None, 10, "the folder")


def test_a_client_under_another_name_goes_on(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path
) -> None:
    friend = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    drain(friend)
    (tmp_path / "clients" / "friend.key").rename(tmp_path / "clients" / "renamed.key")
    assert publisher.revoke() == []
    say(publisher, "now")
    assert hear(friend)["detail"] == "now"


def test_a_file_that_is_absent_for_a_moment_hangs_up_on_nobody(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path, log: Log
) -> None:
    friend = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    gate, file = publisher.gate, tmp_path / "clients" / "friend.key"
    assert gate is not None
    content = file.read_bytes()
    file.unlink()
    gate._missing = frozenset()
    gate._look()
    file.write_bytes(content)
    gate._look()
    assert gate._missing == frozenset()
    assert log.lines == []


@pytest.mark.parametrize("name", [b"\xff\xfe", b"caf\xe9", "café".encode(), b"a\nb", b"\x1b[2J", b"x" * 200])
def test_whatever_a_client_is_called_it_comes_in_and_others_do(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path, name: bytes
) -> None:
    (tmp_path / "stranger.key").rename(tmp_path / "clients" / os.fsdecode(name + b".key"))
    for who in ("stranger", "friend"):
        reader = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys[who]))
        await_heard(publisher, reader)
    (tmp_path / "clients" / os.fsdecode(name + b".key")).unlink()
    (removed,) = publisher.revoke()
    removed.encode()
    assert removed.isprintable()


def ask(publisher: Publisher, question: list[bytes]) -> list[bytes]:
    """Put a question to the gate as libzmq does, through its own socket."""
    asking = publisher._context.socket(zmq.REQ)
    try:
        asking.connect("inproc://zeromq.zap.01")
        asking.send_multipart(question)
        assert asking.poll(10_000), "the gate does not answer"
        return list(asking.recv_multipart())
    finally:
        asking.close(linger=0)


GOOD = [b"1.0", b"1", b"adainf", b"127.0.0.1", b"", b"CURVE", b"k" * 32]
frames = st.one_of(
    st.sampled_from(GOOD), st.binary(max_size=40), st.sampled_from([b"NULL", b"PLAIN", b"GSSAPI", b"\xff"])
)


@pytest.mark.generated
def test_malformed_questions_let_nobody_in_and_end_nothing(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair]
) -> None:
    allowed = z85.decode(keys["friend"].public)

    @generous(300)
    @given(
        question=st.lists(frames, min_size=1, max_size=9) | st.lists(frames, min_size=2, max_size=3).map(GOOD.__add__)
    )
    def answered(question: list[bytes]) -> None:
        answer = ask(publisher, question)
        assert len(answer) == 6
        assert answer[2] == b"400" or question[5:] == [b"CURVE", allowed] or question[5] == b"NULL"

    answered()
    friend = connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys["friend"]))
    await_heard(publisher, friend)
    assert publisher.gate is not None
    assert publisher.gate.hindrance is None


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
    curve = CurveServer.read(tmp_path / "box.key_secret", tmp_path / "clients", log)
    assert keys["box"].secret not in repr(curve)


def test_a_key_is_taken_away_where_no_descriptor_is_left(
    publisher: Publisher, connect: Connect, keys: dict[str, KeyPair], tmp_path: Path, log: Log
) -> None:
    """Without anybody who asks for it; and afterwards the others come back."""
    inside, outside = tmp_path / "clients" / "stranger.key", tmp_path / "stranger.key"
    outside.rename(inside)
    readers = {
        name: connect(endpoint(publisher, "tcp"), **curve(keys["box"], keys[name])) for name in ("friend", "stranger")
    }
    for reader in readers.values():
        await_heard(publisher, reader)
        drain(reader)
    inside.rename(outside)
    with no_descriptors():
        await_true(lambda: any(event == "clients_removed" for event, _ in log.lines), 10, "revocation")
        say(publisher, "secret")
    assert publisher.gate is not None
    assert publisher.gate.defect is publisher.connections.defect is None
    for number in range(20):
        say(publisher, f"secret {number}")
    await_heard(publisher, readers["friend"])
    assert not readers["stranger"].poll(100)


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process can open nothing meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with contextlib.suppress(OSError):
            while True:
                opened.enter_context(Path(os.devnull).open("rb"))
        yield
