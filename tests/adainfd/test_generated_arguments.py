"""Whatever an owner writes as a path or an address: the command is done, or refused in one line that can be shown."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from adainfd.cli import adainfd
from adainfd.model.selection import read_profile
from adainfd.runtime import daemon
from adainfd.runtime.policies import Policies
from adainfd.wire.endpoint import Endpoint
from adainfd.wire.keys import KeyPair
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.publisher import Publisher
from daemons import PASSWORD, Network
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from misspelt import addresses as misspelt

from adainf.base.errors import InvalidInputError
from adainf.process import command

pytestmark = pytest.mark.generated

# What a path is made of: what is there, what is strange for the system, and whatever else.
names = st.one_of(
    st.sampled_from(
        [
            "file",
            "folder",
            "loop",
            "link",
            "pipe",
            "closed",
            "box.key_secret",
            "p.toml",
            "..",
            ".",
            "",
            "~",
            "%04d",
            "*",
        ]
    ),
    st.sampled_from(["x" * 255, "x" * 256, "é" * 128, "a b", "-", "--help", "²", "0", "\N{RIGHT-TO-LEFT OVERRIDE}"]),
    st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=12),
    st.binary(min_size=1, max_size=6).map(lambda name: os.fsdecode(name.replace(b"\0", b"n"))),
)
paths = st.one_of(
    st.builds(
        lambda start, parts, end: start + "/".join(parts) + end,
        st.sampled_from(["", "", "/", "./", "//", "/dev/", "/proc/self/", "/sys/"]),
        st.lists(names, min_size=1, max_size=5),
        st.sampled_from(["", "", "/", ".toml", ".json", ".mp4"]),
    ),
    st.sampled_from(
        ["/dev/full", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem", "folder/" * 700, "x/" * 2048]
    ),
)
words = st.text(st.characters(exclude_characters="\0"), max_size=10)
hosts = st.one_of(
    st.sampled_from(["127.0.0.1", "*", "[::1]", "[::", "localhost", "0.0.0.1", "me:@h", f"me:{PASSWORD}@10.0.0.7"]),
    words,
)
ports = st.one_of(st.sampled_from(["", ":*", ":0", ":5600", ":65535", ":65536", ":-1", ":²", ":99999999999"]), words)
addresses = st.one_of(
    st.builds(
        lambda scheme, host, port, path: f"{scheme}://{host}{port}{path}",
        st.sampled_from(["tcp", "ipc", "rtsp", "RTSP", "http", "https", "file", "udp", "", "x", "mqtt"]),
        hosts,
        ports,
        st.one_of(st.just(""), paths, words.map(lambda word: f"/cam?password={PASSWORD}&x={word}")),
    ),
    paths.map(lambda path: f"ipc://{path}"),
    paths,
    words,
)


class EnoughError(InvalidInputError):
    """The command has come to where a daemon would begin to work."""


def read_all(configure, log, **_):
    """All that a daemon does with what it is told, until it would open cameras."""
    configuration = configure()
    policies = Policies.read(configuration)
    read_profile(configuration.model)
    for camera in configuration.camera:
        policies.of(camera.name, 1)
        assert PASSWORD not in f"{camera.settings()!r} {camera!r}"
    publish = configuration.publish
    curve = CurveServer.read(publish.key, publish.clients, log)
    Publisher([Endpoint(e.address, e.format) for e in publish.bind if e.address.startswith("ipc")], curve=curve).close()
    raise EnoughError("enough")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Path]:
    """The folder that paths are meant in."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "file").touch()
    (folder / "folder").mkdir()
    (folder / "closed").mkdir(mode=0o000)
    (folder / "loop").symlink_to("loop")
    (folder / "link").symlink_to("absent")
    os.mkfifo(folder / "pipe")
    KeyPair.new(folder / "box")
    (folder / "p.toml").write_text("[budget]\nmaximum = 0.5\n", encoding="utf-8")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(daemon, "run", read_all)
        patch.setenv("MALLOC_TOP_PAD_", "0")  # else a run replaces this process
        yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


def assert_done_or_refused(*arguments: str) -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as err, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["adainfd", *arguments])
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as end:
            command.run(adainfd, "adainfd")
        err.seek(0)
        said = err.read()
    assert end.value.code in (0, None, 69, 78), said
    assert PASSWORD not in said
    if end.value.code:
        assert said.count("\n") == 1, said
        assert said[:-1].isprintable(), said
        assert said.startswith("adainfd: ")


OPTIONS = ("--config", "--policy", "--profile", "--run")


@generous(60)
@given(option=st.sampled_from(OPTIONS), path=paths)
def test_paths_as_options(folder: Path, network: Network, option: str, path: str) -> None:
    assert_done_or_refused("run", "--source", "0", "--bind", "ipc://s", "--profile", str(network.profile), option, path)


@generous(60)
@given(arguments=st.lists(paths, min_size=1, max_size=2), name=st.sampled_from(["check-config", "rollback", "show"]))
def test_paths_as_arguments(folder: Path, arguments: Sequence[str], name: str) -> None:
    before = ["keys", name] if name == "show" else [name]
    assert_done_or_refused(*before, *arguments)


@generous(60)
@given(sources=st.lists(addresses, min_size=1, max_size=3), bind=st.lists(addresses, max_size=2))
def test_addresses(folder: Path, network: Network, sources: Sequence[str], bind: Sequence[str]) -> None:
    told = [word for address in sources for word in ("--source", address)]
    assert_done_or_refused("run", *told, *(word for address in bind for word in ("--bind", address)), "--run", "absent")


MISPLACED = (
    "run --source {}", "run --source={}", "run --bind {}", "run {}", "run --sorce {}", "run --sorce={}", "{}", "-{}",
    "run --seconds {}", "run --policy {}", "run --run {} --source 0", "run --config {}",
    "run --profile {} --source 0", "relay --connect {} --bind ipc://x --mqtt mqtt://h",
    "relay --connect ipc://x --mqtt {} --bind ipc://y", "relay --connect ipc://x --bind {} --mqtt mqtt://h",
    "relay --mqtt {}", "tail --count {}", "tail --server {} --key x", "watch --connect tcp://{}", "check-config {}",
    "adopt {} --run x", "rollback {}", "keys show {}", "keys {}", "replay {}", "replay x --policy {}",
    "demo {} --seconds 1", "doctor {} {}",
)  # fmt: skip


@generous(120)
@given(command=st.sampled_from(MISPLACED), address=misspelt)
def test_no_password_is_said_wherever_it_stands(folder: Path, command: str, address: str) -> None:
    assert_done_or_refused(*(word.replace("{}", address) for word in command.split()))


KEYS = (
    "model.weights", "model.profile", "model.run", "model.policy", "publish.key", "publish.clients", "publish.host",
    "publish.bind", "web.bind", "camera.source", "camera.policy", "camera.name",
)  # fmt: skip


@generous(60)
@given(told=st.dictionaries(st.sampled_from(KEYS), paths | addresses | st.just("a\0b"), min_size=1, max_size=3))
def test_paths_and_addresses_in_configurations(folder: Path, network: Network, told: dict[str, str]) -> None:
    tables: dict[str, dict[str, str]] = {"model": {"backbone": "cifar/resnet20", "profile": str(network.profile)}}
    for key, value in told.items():
        table, _, name = key.partition(".")
        # Whoever takes a camera's address for a path gets to see it.
        tables.setdefault(table, {})[name] = value if name in ("source", "bind") else value.replace(PASSWORD, "x")
    text = ""
    for table, values in tables.items():
        text += f"[[{table}]]\n" if table == "camera" else f"[{table}]\n"
        for name, value in values.items():
            # A name that is no UTF-8 cannot stand in a file that is.
            written = json.dumps(value.encode(errors="replace").decode(), ensure_ascii=False)
            written = written.replace("\x7f", "\\u007F")
            text += f"{name} = {f'[{written}]' if f'{table}.{name}' == 'publish.bind' else written}\n"
    file = folder / "generated.toml"
    file.write_text(text, encoding="utf-8")
    assert_done_or_refused("check-config", str(file))
    assert_done_or_refused("run", "--config", str(file), "--bind", "ipc://s")
