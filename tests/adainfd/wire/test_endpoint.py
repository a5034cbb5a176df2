import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from adainfd.wire import endpoint as endpoints
from adainfd.wire.serving.publisher import Publisher
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import await_heard, say

from adainf.base.credentials import without_credentials
from adainf.base.errors import InvalidInputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that relative paths are relative to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield f"tcp://127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ("127.0.0.1:5600", "is malformed; must be tcp://ADDRESS:PORT"),
        ("udp://127.0.0.1:5600", "is malformed"),
        ("tcp://127.0.0.1", "is malformed"),
        ("tcp://127.0.0.1:", "is malformed"),
        ("tcp://127.0.0.1:http", "is malformed"),
        ("tcp://127.0.0.1:-1", "is malformed"),
        ("tcp://:5600", "is malformed"),
        ("", "is malformed"),
        ("tcp://127.0.0.1:0", "port 0 must be from 1 to 65535"),
        ("tcp://127.0.0.1:65536", "port 65536 must be from 1 to 65535"),
        ("tcp://127.0.0.1:70000", "port 70000 must be from 1 to 65535"),
        ("tcp://192.0.2.1:5600", "is not an address of this machine"),
        ("tcp://nosuch:5600", "is not an address or interface of this machine"),
        ("ipc://", "the path must have 1 to 107 bytes"),
        (f"ipc:///tmp/{'x' * 110}", "the path must have 1 to 107 bytes"),
        ("ipc://nosuch/s", "the folder nosuch does not exist"),
        ("ipc://folder", "a file that is no socket is there already"),
        ("ipc://@", "an abstract address"),
        ("ipc://@adainf", "an abstract address"),
        ("ipc://@/tmp/adainf", "an abstract address"),
        ("ipc://*", "libzmq would choose the path"),
        ("ipc://*/s", "libzmq would choose the path"),
        ("ipc://folder/", "must end in the socket's name"),
        ("ipc://folder/..", "must end in the socket's name"),
        ("ipc://.", "must end in the socket's name"),
        ("ipc://a\0b", "printable characters"),
        ("ipc://a\nb", "printable characters"),
        ("ipc://\x1b[31m", "printable characters"),
        ("ipc://\udc80", "is not UTF-8"),
        ("ipc://~/s", "the folder ~ does not exist"),
        ("IPC://s", "is malformed"),
        ("TCP://127.0.0.1:5600", "is malformed"),
        ("inproc://s", "is malformed"),
        ("ws://127.0.0.1:5600", "is malformed"),
        ("pgm://127.0.0.1:5600", "is malformed"),
        ("tcp://127.0.0.1:5600\n", "is malformed"),
        ("tcp://127.0.0.1;127.0.0.2:5600", "is malformed"),
    ],
)
def test_refused_endpoints(here: Path, endpoint: str, named: str) -> None:
    (here / "folder").mkdir()
    with pytest.raises(InvalidInputError) as refused:
        Publisher([endpoint])
    assert repr(without_credentials(endpoint)) in str(refused.value)
    assert named in str(refused.value)


def test_any_free_port(here: Path) -> None:
    publisher = Publisher(["tcp://127.0.0.1:*", "ipc://s"])
    port = int(publisher.endpoints[0].rpartition(":")[2])
    assert 1 <= port <= 65535
    assert (here / "s").is_socket()
    publisher.close()
    assert not (here / "s").exists()


def test_second_endpoint_in_use_binds_nothing(here: Path, taken: str) -> None:
    with pytest.raises(InvalidInputError, match="is in use by another program"):
        Publisher(["ipc://s", taken])
    assert not (here / "s").exists()


def test_socket_file_in_use_goes_on_working(here: Path) -> None:
    first = Publisher(["ipc://s"])
    with pytest.raises(InvalidInputError, match="is in use by another program"):
        Publisher(["ipc://s"])
    assert (here / "s").is_socket()
    first.close()


def test_socket_file_left_behind_is_replaced(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("s")
    Publisher(["ipc://s"]).close()


def test_file_in_the_way_of_a_socket_survives(here: Path) -> None:
    (here / "s").write_text("precious", encoding="utf-8")
    with pytest.raises(InvalidInputError, match="no socket"):
        Publisher(["ipc://s"])
    assert (here / "s").read_text(encoding="utf-8") == "precious"


SPELLINGS = ["@s", "*s", "~s", "%73", "s s", "ü", "s:1", "{s}"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_path_is_taken_as_it_stands(here: Path, name: str) -> None:
    """What libzmq reads in a special way at the beginning of an address is a name like others behind a folder."""
    publisher = Publisher([f"ipc://{here}/{name}"])
    assert (here / name).is_socket()
    with zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.SUBSCRIBE, b"")
        endpoints.connect(reader, publisher.endpoints[0])
        say(publisher)
        await_heard(publisher, reader)
    publisher.close()
    assert list(here.iterdir()) == []


def in_the_way(path: Path, kind: str) -> list[socket.socket]:
    """Something that is none of ours; what must stay open."""
    precious = path.parent / "precious"
    precious.write_text("precious", encoding="utf-8")
    match kind:
        case "file":
            path.write_text("precious", encoding="utf-8")
        case "link":
            path.symlink_to(precious)
        case "dangling link":
            path.symlink_to(path.parent / "nosuch")
        case "second name":
            path.hardlink_to(precious)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link to a socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path.parent / "left"))
            path.symlink_to(path.parent / "left")
        case "stream" | "datagrams" | "packets":
            kinds = {"stream": socket.SOCK_STREAM, "datagrams": socket.SOCK_DGRAM, "packets": socket.SOCK_SEQPACKET}
            other = socket.socket(socket.AF_UNIX, kinds[kind])
            other.bind(str(path))
            if kind != "datagrams":
                other.listen(0)
            return [other]
    return []


KINDS = ["file", "link", "dangling link", "second name", "fifo", "folder", "link to a socket"]


@pytest.mark.parametrize("name", ["s", "@s", "*"])
@pytest.mark.parametrize("kind", [*KINDS, "stream", "datagrams", "packets"])
def test_what_is_in_the_way_of_a_socket_stays(here: Path, name: str, kind: str) -> None:
    opened = in_the_way(here / name, kind)
    before = {path.name: path.lstat() for path in here.iterdir()}
    with pytest.raises(InvalidInputError, match=r"no socket|in use"):
        Publisher([f"ipc://{here}/{name}"])
    assert {path.name: path.lstat() for path in here.iterdir()}.keys() == before.keys()
    for path in here.iterdir():
        assert os.path.samestat(path.lstat(), before[path.name])
    assert (here / "precious").read_text(encoding="utf-8") == "precious"
    for other in opened:
        other.close()


def test_a_full_socket_of_another_program_is_in_use(here: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, contextlib.ExitStack() as waiting:
        other.bind("s")
        other.listen(0)
        for _ in range(3):
            client = waiting.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect("s")
        with pytest.raises(InvalidInputError, match="in use"):
            Publisher(["ipc://s"])


@pytest.mark.parametrize("kind", [*KINDS, "stream"])
def test_what_comes_between_a_look_and_the_bind_stays(here: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket was left behind; before it is removed, somebody puts something else in its place."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("s")
    looked = endpoints._listener
    opened: list[socket.socket] = []
    lost: list[Path] = []

    def look_and_lose(path: Path) -> int | None:
        found = looked(path)
        if path == Path("s") and not lost:
            path.unlink()
            lost.append(path)
            opened.extend(in_the_way(path, kind))
        return found

    monkeypatch.setattr(endpoints, "_listener", look_and_lose)
    with pytest.raises(InvalidInputError, match=r"cannot be removed|in use"):
        Publisher(["ipc://s"])
    for text in here.rglob("precious"):
        assert text.read_text(encoding="utf-8") == "precious"
    if kind == "folder":
        return
    assert (here / "s").is_symlink() == ("link" in kind)
    assert (here / "s").is_socket() == (kind in ("stream", "link to a socket"))
    for other in opened:
        other.close()


def test_another_socket_in_the_place_of_ours_is_not_removed(here: Path) -> None:
    publisher = Publisher(["ipc://s"])
    (here / "s").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("s")
        publisher.close()
        assert (here / "s").is_socket()


def test_socket_of_a_service_is_for_those_whom_its_folder_lets_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other services have users of their own, and the umask of ours keeps everyone out."""
    own, elsewhere = here / "run", here / "elsewhere"
    for folder in (own, elsewhere):
        folder.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(own))
    before = os.umask(0o077)
    try:
        publisher = Publisher([f"ipc://{own}/s", f"ipc://{elsewhere}/s", "ipc://relative"])
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (own / "s", elsewhere / "s", here / "relative")]
    publisher.close()
    assert modes == [0o777, 0o700, 0o700]


@pytest.mark.parametrize("endpoint", ["tcp://*:5600", "tcp://127.0.0.1:*", "nowhere"])
def test_refused_to_connect(endpoint: str) -> None:
    with pytest.raises(InvalidInputError, match=r"name an address and a port|malformed"):
        endpoints.check(endpoint, to_bind=False)


def test_ipv6(here: Path) -> None:
    endpoints.check("tcp://[::1]:5600")
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, pytest.raises(InvalidInputError):
        endpoints.bind(publisher, "tcp://[::1:5600")


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30) | st.from_regex(r"(tcp|ipc)://[^\n]{0,20}(:[0-9*]{0,6})?", fullmatch=True))
def test_any_text_is_an_endpoint_or_refused_in_one_line(text: str) -> None:
    for check in (endpoints.check, endpoints.check_reachable, endpoints.check_local):
        refusal = "endpoint "
        try:
            check(text)
        except InvalidInputError as error:
            refusal = str(error)
        assert refusal.startswith("endpoint ")
        assert "\n" not in refusal
