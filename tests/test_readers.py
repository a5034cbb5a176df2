"""The programs in examples/ read a real publisher, and a page shows them as they are."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from adainfd.wire.keys import KeyPair
from adainfd.wire.serving.authentication import CurveServer
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true
from streams import Log, a_result

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "examples"
PAGE = REPOSITORY / "docs" / "how-to" / "read.md"
NODE_MODULES = Path(__file__).parent / ".node" / "node_modules"

Reads = Callable[[Sequence[str | Path], Publisher], str]


def test_the_page_shows_the_programs_as_they_are() -> None:
    shown = dict(re.findall(r"<!-- examples/(\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    programs = [file for file in EXAMPLES.iterdir() if file.name.startswith("subscribe")]
    assert shown == {file.name: file.read_text(encoding="utf-8") for file in programs}


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    opened = Publisher(["tcp://127.0.0.1:*"])
    yield opened
    opened.close()


@pytest.fixture
def first_line(tmp_path: Path) -> Iterator[Reads]:
    """What a program, given an endpoint, prints first of what is published there."""
    started: list[subprocess.Popen[bytes]] = []

    def read(command: Sequence[str | Path], publisher: Publisher) -> str:
        out = tmp_path / "out"
        with out.open("wb") as stdout:
            command = [*command, *publisher.endpoints]
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=stdout, env=dict(os.environ)))

        def said() -> list[str]:
            publisher.resend_last()
            publisher.send("result/here/door", a_result)
            assert started[-1].poll() in (None, 0)
            return out.read_text(encoding="utf-8").splitlines()

        line: str = await_true(said, 20, "a line")[0]
        return line

    yield read
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["subscribe.py", "subscribe_typed.py", "subscribe_async.py"])
def test_python(first_line: Reads, publisher: Publisher, name: str) -> None:
    assert first_line([sys.executable, EXAMPLES / name], publisher) == "door bicycle motion"


def test_python_with_keys(first_line: Reads, tmp_path: Path) -> None:
    for name in ("edge1", "dashboard"):
        KeyPair.new(tmp_path / name)
    (tmp_path / "clients").mkdir()
    shutil.copy(tmp_path / "dashboard.key", tmp_path / "clients")
    publisher = Publisher(
        ["tcp://127.0.0.1:*"], curve=CurveServer.read(tmp_path / "edge1.key_secret", tmp_path / "clients", Log())
    )
    assert "result/here/door" in first_line([sys.executable, EXAMPLES / "subscribe_with_keys.py"], publisher)
    publisher.close()


def test_c(first_line: Reads, publisher: Publisher, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc: apt-get install gcc libc6-dev")
    command = [compiler, "-Wall", "-Werror", EXAMPLES / "subscribe.c", "-lzmq", "-o", "reader"]
    compiled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "zmq.h: No such file" in compiled.stderr:
        pytest.skip("needs libzmq's header: apt-get install libzmq3-dev")
    assert compiled.returncode == 0, compiled.stderr
    line = first_line([tmp_path / "reader"], publisher)
    assert line.startswith('result/here/door {"schema":"adainf.result/1"')


def test_javascript(first_line: Reads, publisher: Publisher, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "zeromq").is_dir():
        pytest.skip("needs node and its zeromq: npm install --prefix tests/.node zeromq")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    for name in ("subscribe.js", "package.json"):  # modules are looked for beside the program
        shutil.copy(EXAMPLES / name, tmp_path)
    assert first_line([node, "subscribe.js"], publisher) == "door bicycle motion"
