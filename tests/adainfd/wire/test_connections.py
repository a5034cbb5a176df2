"""Readers that cost too much, byte by byte, at a publisher that goes on for the others."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import strangers
import zmq
from adainfd.wire.serving import connections
from adainfd.wire.serving.connections import Connections
from adainfd.wire.serving.monitors import ACCEPTED, ENDED, Happened, Monitors
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from strangers import COMMAND, LONG, MORE, READY, SUBSCRIBE, UNSUBSCRIBE, frame, greeting, is_hung_up_on
from streams import Log, await_heard, hear, say
from users import as_user

Connect = Callable[..., "zmq.Socket[bytes]"]
MOST = 24


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def publisher(tmp_path: Path, log: Log) -> Iterator[Publisher]:
    """With a port and a path, for so many readers."""
    opened = Publisher(["tcp://127.0.0.1:*", f"ipc://{tmp_path}/s"], log=log, most=MOST)
    say(opened)
    yield opened
    opened.close()


def endpoint(publisher: Publisher, scheme: str) -> str:
    return next(bound for bound in publisher.endpoints if bound.startswith(scheme))


def resident() -> float:
    """Megabytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def send_until_hung_up(publisher: Publisher, stranger: socket.socket, what: bytes, seconds: float = 10.0) -> int:
    """Send it again and again, while the publisher goes on; the bytes that it took. Fails where nobody hangs up."""
    stranger.settimeout(0.05)
    end, sent, rest = time.monotonic() + seconds, 0, what
    while time.monotonic() < end:
        publisher.resend_last()
        try:
            took = stranger.send(rest)
        except TimeoutError:
            continue
        except OSError:
            return sent
        sent, rest = sent + took, rest[took:] or what
    pytest.fail("nobody hangs up")


ATTACKS = {
    "a topic of 300 bytes": frame(SUBSCRIBE + b"x" * 300),
    "a topic of 4,000 bytes": frame(SUBSCRIBE + b"x" * 4000),
    "many topics": b"".join(frame(SUBSCRIBE + b"%d" % number) for number in range(1000)),
    "one topic again and again": frame(SUBSCRIBE + b"result/") * 100,
    "subscribe and unsubscribe": (frame(SUBSCRIBE + b"status/") + frame(UNSUBSCRIBE + b"status/")) * 100,
    "unsubscribe from nothing": frame(UNSUBSCRIBE + b"status/") * 100,
    "a message of its own": frame(b"result/here/door"),
    "an empty message": frame(b""),
    "a message without an end": frame(SUBSCRIBE + b"x" * 200, MORE) * 100,
    "another without an end": frame(b"x", MORE) * 1000,
    "a message of no end of bytes": bytes([LONG]) + b"\x7f" + b"\xff" * 7 + bytes(1000),
    "pings": frame(b"\x04PING\0\0", COMMAND) * 1000,
    "commands that nobody knows": frame(b"\x05HELLO", COMMAND) * 1000,
}


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_whoever_asks_for_too_much_is_hung_up_on(publisher: Publisher, connect: Connect, log: Log, scheme: str) -> None:
    """The others hear everything meanwhile, and memory stays."""
    reader = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, reader)
    hear(reader)
    for number, (name, what) in enumerate(ATTACKS.items()):
        before = resident()
        with strangers.subscriber(endpoint(publisher, scheme)) as stranger:
            send_until_hung_up(publisher, stranger, what)
        await_true(lambda n=number: publisher.resend_last() or publisher.hung_up > n, 5, f"{name} is counted")
        assert resident() - before < 20, name
        say(publisher, name)
        heard = hear(reader)
        while heard["repeated"]:
            heard = hear(reader)
        assert heard["detail"] == name
    ((event, about), *_) = log.lines
    assert event == "reader_hung_up_on"
    assert about["hung_up"] == 1
    assert ("127.0.0.1:" if scheme == "tcp" else f"process {os.getpid()} of user") in about["address"]
    assert len(log.lines) <= 2  # of at most one in ten seconds
    await_true(lambda: publisher.resend_last() or publisher.subscriptions == 1, 5, "nothing of theirs is left")


@pytest.mark.parametrize("length", [20, 200, 4000])
def test_a_library_that_subscribes_to_ten_thousand_topics_is_kept_away(
    publisher: Publisher, connect: Connect, log: Log, length: int
) -> None:
    reader = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, reader)
    topics = [(b"%08d" % number).ljust(length) for number in range(10_000 if length < 1000 else 500)]
    with zmq.Context() as context:
        # On a busy box libzmq may end a connection for a topic that is too long before anybody can say whose it was.
        end = time.monotonic() + 30
        while not publisher.hung_up:
            assert time.monotonic() < end, "it is hung up on"
            with context.socket(zmq.SUB) as greedy:
                greedy.setsockopt(zmq.LINGER, 0)
                for topic in topics:
                    greedy.setsockopt(zmq.SUBSCRIBE, topic)
                before = resident()  # with what the greedy one itself needs
                greedy.connect(endpoint(publisher, "tcp"))
                patience = time.monotonic() + (2 if length > 1000 else 10)
                while not publisher.hung_up and time.monotonic() < patience:
                    publisher.resend_last()
                    time.sleep(0.01)
                assert resident() - before < 10
    assert [event for event, _ in log.lines] == ["reader_hung_up_on"]
    await_true(lambda: publisher.resend_last() or publisher.subscriptions == 1, 5, "its topics are gone")


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_those_who_say_nothing_make_room(publisher: Publisher, connect: Connect, log: Log, scheme: str) -> None:
    reader = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, reader)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with strangers.held(endpoint(publisher, scheme), 2 * MOST) as silent:
        await_true(lambda: publisher.hung_up >= MOST, 5, "most are hung up on")
        mine = len(silent)

        def let_go() -> bool:
            return len(list(Path("/proc/self/fd").iterdir())) - descriptors - mine <= 2 * MOST

        await_true(let_go, 2, "libzmq closes those who were hung up on")
        late = connect(endpoint(publisher, scheme))
        await_heard(publisher, late)
        begun = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - begun < 0.25  # libzmq does not spin
        assert is_hung_up_on(silent[-1], 10)  # a handshake takes five seconds at most
    say(publisher, "on")
    await_true(lambda: hear(reader)["detail"] == "on", 5, "the reader hears")
    assert log.lines[0][0] == "reader_hung_up_on"


def test_a_probe_that_is_gone_before_it_is_looked_at_lacks_no_descriptor(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = Connections(log)
    closed = os.open(os.devnull, os.O_RDONLY)
    os.close(closed)
    turns = iter([[Happened(kind, closed, tcp=True, socket=1)] for kind in (ACCEPTED, ENDED)])
    with monkeypatch.context() as patched:
        patched.setattr(Monitors, "happened", lambda _: next(turns, []))
        connections.settle()
    assert (connections.hung_up, log.lines) == (0, [])


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_whoever_comes_and_goes_without_a_word_was_not_hung_up_on(
    publisher: Publisher, connect: Connect, log: Log, scheme: str
) -> None:
    """As a probe of the port or the path does."""
    for _ in range(MOST // 3):
        strangers.connected(endpoint(publisher, scheme)).close()
    reader = connect(endpoint(publisher, scheme))
    await_heard(publisher, reader)
    assert log.lines == []
    assert publisher.hung_up == 0


def test_a_port_is_hung_up_on_for_what_was_asked_there_alone(publisher: Publisher, connect: Connect) -> None:
    """A flood at a path does not make those wait who connect to the port."""
    for _ in range(20):
        with strangers.subscriber(endpoint(publisher, "ipc")) as stranger:
            send_until_hung_up(publisher, stranger, frame(b"result/here/door"))
    begun = time.monotonic()
    for _ in range(3):
        strangers.connected(endpoint(publisher, "tcp")).close()
        time.sleep(0.01)
    assert time.monotonic() - begun < 0.5


def test_more_readers_than_may_be_are_hung_up_on(publisher: Publisher, connect: Connect) -> None:
    first = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, first)
    crowd = []
    for _ in range(MOST + 3):
        with contextlib.suppress(OSError):
            crowd.append(strangers.subscriber(endpoint(publisher, "tcp")))
            crowd[-1].sendall(frame(SUBSCRIBE))
        publisher.resend_last()
    await_true(lambda: publisher.resend_last() or publisher.hung_up >= 3, 5, "the last are hung up on")
    say(publisher, "on")
    await_true(lambda: hear(first)["detail"] == "on", 5, "the first hears")
    for stranger in crowd:
        stranger.close()


def test_a_rush_at_the_port_is_held_back(publisher: Publisher, connect: Connect) -> None:
    """What comes in costs processor time, whatever becomes of it: so many a second come in, and no more."""
    reader = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, reader)
    came, end = [0], time.monotonic() + 1.5

    def attempt() -> None:
        strangers.connected(endpoint(publisher, "tcp"), 0.05).close()
        came[0] += 1

    rush = threading.Thread(target=strangers.again_and_again, args=(attempt, end))
    rush.start()
    rush.join()
    assert came[0] < MOST + 32 + 2 * 150
    say(publisher, "on")
    await_true(lambda: hear(reader)["detail"] == "on", 5, "the reader hears")
    late = connect(endpoint(publisher, "tcp"))
    await_heard(publisher, late)


def test_the_end_of_the_thread_is_noticed(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int, now: float, *, tcp: bool) -> int:
        del descriptor, now, tcp
        raise ValueError("for a test")

    monkeypatch.setattr(connections, "Connection", broken)
    with strangers.connected(endpoint(publisher, "tcp")):
        await_true(lambda: publisher.connections.defect, 5, "the end of the thread")
    assert publisher.connections.hindrance == "the thread connections has ended (ValueError: for a test)"
    assert "in broken" in str(publisher.connections.defect)


_BYTES = st.binary(max_size=64)
_FRAME = st.builds(frame, st.binary(max_size=300) | _BYTES.map(lambda b: SUBSCRIBE + b), st.integers(0, 255))
_LENGTHS = st.integers(0, 2**64 - 1).map(lambda length: bytes([LONG]) + length.to_bytes(8, "big"))
_COMMAND = st.builds(
    lambda name, body: frame(bytes([len(name) % 256]) + name + body, COMMAND),
    st.sampled_from([b"READY", b"ERROR", b"SUBSCRIBE", b"CANCEL", b"PING", b"PONG", b"HELLO", b"INITIATE", b""]),
    _BYTES,
)
_GREETING = st.builds(
    greeting,
    st.sampled_from([b"NULL", b"CURVE", b"PLAIN", b"GSSAPI", b""]) | st.binary(max_size=20),
    st.sampled_from([b"\3\0", b"\3\1", b"\1\0", b"\2\0", b"\0\0", b"\xff\xff"]),
)
_OPENING = _GREETING | st.sampled_from(
    [b"", b"\xff", greeting()[:11], greeting() + READY, b"\1\0", b"\xff\0\0\0\0\0\0\0\1\x7f\1\1"]
)
MESSAGES = st.tuples(_OPENING, st.lists(_FRAME | _LENGTHS | _COMMAND | _BYTES, max_size=4).map(b"".join))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    """Whom all generated messages go to."""
    opened = Publisher([f"ipc://{tmp_path_factory.mktemp('generated')}/s", "tcp://127.0.0.1:*"], log=Log())
    say(opened)
    yield opened
    opened.close()


A_BATCH = 50


@pytest.mark.generated
@generous(150, each=A_BATCH)
@given(message=MESSAGES, shaken=st.booleans(), reset=st.booleans(), seed=st.integers(0, 2**32))
def test_whatever_comes_the_publisher_goes_on(
    target: Publisher, message: tuple[bytes, bytes], shaken: bool, reset: bool, seed: int
) -> None:
    """Each generated message, and others that differ from it in some bytes, each over a connection of its own."""
    random_ = random.Random(seed)
    opening, rest = message
    said = rest if shaken else opening + rest
    for number in range(A_BATCH):
        # Mostly at the path: ports hold a rush back.
        bound = endpoint(target, "ipc" if number else "tcp")
        with contextlib.suppress(OSError), strangers.connected(bound) as stranger:
            stranger.sendall((greeting() + READY if shaken else b"") + (mutated(said, random_) if number else said))
            if reset:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    begun = time.monotonic()
    say(target)
    target.resend_last()
    assert time.monotonic() - begun < 2
    assert target.connections.defect is None


def mutated(message: bytes, random_: random.Random) -> bytes:
    """The message with a few bytes changed, cut off, or repeated."""
    changed = bytearray(message)
    for _ in range(random_.randrange(1, 4) if changed else 0):
        changed[random_.randrange(len(changed))] = random_.randrange(256)
    start = random_.randrange(len(changed) + 1)
    return bytes(random_.choice([changed, changed[:start], changed + changed[start:]]))


@pytest.mark.generated
def test_and_serves_others_afterwards(target: Publisher, connect: Connect) -> None:
    for bound in target.endpoints:
        reader = connect(bound)
        await_heard(target, reader)
        assert hear(reader)["state"] == "ready"
    assert target.resend_last() is None


FLOOD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from strangers import SUBSCRIBE, frame, subscriber
held, there, refused, end = [], 0, 0, time.monotonic() + 3
while time.monotonic() < end:
    try:
        held.append(subscriber(sys.argv[2]))
        held[-1].sendall(b"".join(frame(SUBSCRIBE + b"%06d" % number + bytes(50)) for number in range(250)))
        there += 1
    except OSError:
        refused += 1
    if len(held) > 100:
        held.pop(0).close()
print(there, refused)
"""


def test_a_flood_of_another_user_at_a_path_is_held_back(connect: Connect, log: Log) -> None:
    """libzmq aborts where it has no descriptor left to accept with at a path."""
    flood = [*as_user(), sys.executable, "-c", FLOOD, str(Path(strangers.__file__).parent)]
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "s"
        publisher = Publisher([f"ipc://{path}"], log=log, most=MOST)
        path.chmod(0o777)
        try:
            with subprocess.Popen([*flood, f"ipc://{path}"], stdout=subprocess.PIPE, text=True) as process:
                most = modes = 0
                while process.poll() is None:
                    publisher.resend_last()
                    most = max(most, len(list(Path("/proc/self/fd").iterdir())))
                    modes |= 1 << (path.stat().st_mode & 0o777 == 0o200)
                assert process.stdout is not None
                there, refused = map(int, process.stdout.read().split())
            assert there < 600  # 100 a second
            assert refused
            assert modes == 0b11
            assert most < 500
            await_true(
                lambda: publisher.resend_last() or path.stat().st_mode & 0o777 == 0o777,
                10,
                "others may come again",
            )
            say(publisher, "still there")
            reader = connect(f"ipc://{path}")
            await_heard(publisher, reader)
        finally:
            publisher.close()
