"""The programs that docs/reading.md shows, as they stand there, reading a real publisher."""

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

PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
NODE_MODULES = Path(__file__).parent / ".node" / "node_modules"

Reads = Callable[[Sequence[str | Path], Publisher], str]


def program(language: str, containing: str) -> str:
    """The one block of the page in a language that contains something."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if containing in block)
    return str(found)


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


@pytest.mark.parametrize("containing", ["import json", "adainfd.client"])
def test_python(first_line: Reads, publisher: Publisher, tmp_path: Path, containing: str) -> None:
    (tmp_path / "reader.py").write_text(program("python", containing), encoding="utf-8")
    assert first_line([sys.executable, "reader.py"], publisher) == "door bicycle motion"


def test_python_with_keys(first_line: Reads, tmp_path: Path) -> None:
    for name in ("edge1", "dashboard"):
        KeyPair.new(tmp_path / name)
    (tmp_path / "clients").mkdir()
    shutil.copy(tmp_path / "dashboard.key", tmp_path / "clients")
    publisher = Publisher(
        ["tcp://127.0.0.1:*"], curve=CurveServer.read(tmp_path / "edge1.key_secret", tmp_path / "clients", Log())
    )
    (tmp_path / "reader.py").write_text(program("python", "zmq.auth"), encoding="utf-8")
    assert "result/here/door" in first_line([sys.executable, "reader.py"], publisher)
    publisher.close()


def test_c(first_line: Reads, publisher: Publisher, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc: apt-get install gcc libc6-dev")
    (tmp_path / "reader.c").write_text(program("c", "zmq.h"), encoding="utf-8")
    command = [compiler, "-Wall", "-Werror", "reader.c", "-lzmq", "-o", "reader"]
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
    (tmp_path / "reader.mjs").write_text(program("js", "zeromq"), encoding="utf-8")
    assert first_line([node, "reader.mjs"], publisher) == "door bicycle motion"
