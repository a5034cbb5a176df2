import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from adainfd.wire import endpoint as endpoints
from adainfd.wire.publisher import Publisher
from hypothesis import given, settings
from hypothesis import strategies as st

from adainf.credentials import without_credentials
from adainf.errors import InvalidInputError


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
    ],
)
def test_refused_endpoints(here: Path, endpoint: str, named: str) -> None:
    (here / "folder").mkdir()
    with pytest.raises(InvalidInputError) as refused:
        Publisher([endpoint])
    assert repr(endpoint) in str(refused.value)
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
        shown = without_credentials(repr(text))
        refusal = shown
        try:
            check(text)
        except InvalidInputError as error:
            refusal = str(error)
        assert shown in refusal
        assert "\n" not in refusal
