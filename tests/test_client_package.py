"""The client alone, as daemon/client/pyproject.toml builds it, installed as README's "Only read the stream" tells."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import grimp
import pytest
import wheels
from adainfd.wire.serving.publisher import Publisher
from daemons import await_true
from documented import commands
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from streams import a_result, say

REPOSITORY = Path(__file__).parents[1]
CLIENT = REPOSITORY / "daemon" / "client"
HEADING = "Only read the stream"
TOLD = [told.text for told in commands("README.md") if told.heading == HEADING and not told.inline]

CALLED = ("tail", "watch", "keys")
OTHERS = ("adopt", "check_config", "demo", "doctor", "label", "relay", "replay", "rollback", "run")
STARTS = ("adainfd.__main__", "adainfd.cli", *(f"adainfd.commands.{name}" for name in OTHERS))
"""The client lists every command, and lacks what these import when they are called."""

WANTED = (
    "adainfd.client",
    "adainfd.terminal.options",
    *(f"adainfd.commands.{name}" for name in CALLED),
    "adainf.process.command",
    "adainf.base.output",
)

HEAVY = {"cv2", "numpy", "onnxruntime", "peft", "timm", "torch"}


def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_files_are_those_that_are_imported() -> None:
    graph = grimp.build_graph("adainf", "adainfd", exclude_type_checking_imports=True, cache_dir=None)
    modules, left = {*STARTS}, [*STARTS, *WANTED]
    while left:
        module = left.pop()
        # To import a module is to import the packages that it lies in, with what these import.
        found = {module, module.rpartition(".")[0] or module}
        if module not in STARTS:
            found |= graph.find_modules_directly_imported_by(module)
        left += found - modules
        modules |= found
    files = {"adainf/py.typed", "adainfd/py.typed"}
    for module in modules:
        path = f"{module.replace('.', '/')}.py"
        files.add(path if (REPOSITORY / _within(path)).is_file() else f"{path[:-3]}/__init__.py")
    shipped = project(CLIENT)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert shipped == {f"../../{_within(file)}": file for file in sorted(files)}


def _within(file: str) -> str:
    """Where the repository has what is installed as `file`."""
    return f"daemon/{file}" if file.startswith("adainfd/") else file


def test_it_is_the_same_version_with_fewer_requirements() -> None:
    whole, client = project(REPOSITORY)["project"], project(CLIENT)["project"]
    assert client["version"] == f"{whole['version']}+client"
    for name in ("name", "license", "requires-python"):
        assert client[name] == whole[name]
    assert set(client["dependencies"]) < set(whole["dependencies"])
    assert set(client["scripts"].items()) < set(whole["scripts"].items())
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"## {HEADING}\n")[2].partition("\n## ")[0]
    told = re.search(r"The only packages they require are\s+([^.]+)\.", section)
    assert told is not None
    assert re.split(r", |\s+and\s+", told[1]) == [Requirement(line).name for line in client["dependencies"]]


class Reader:
    """A folder in which README's commands are followed, and its environment of which nothing else is known."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    @property
    def packages(self) -> Path:
        (found,) = (self.folder / "reader" / "lib").glob("python*/site-packages")
        return found

    def start(self, command: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str, str]:
        """Status, output and errors."""
        process = self.start(command)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """The client is installed as told; what it requires is copied from the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("read")
    wheel = wheels.built(CLIENT, tmp_path_factory.mktemp("wheel"))
    made = Reader(folder)
    environment, install, _ = TOLD
    for command in (
        environment.replace("python3", sys.executable),
        install.replace("install ./daemon/client", f"install --quiet --no-deps --no-index {wheel}"),
    ):
        assert made.run(command) == (0, "", "")
    for name in _required(project(CLIENT)["project"]["dependencies"]):
        _copy(metadata.distribution(name), made.packages)
    return made


def _required(lines: Iterable[str]) -> set[str]:
    """The names of all packages that requirements bring in."""
    names: set[str] = set()
    left = list(lines)
    while left:
        requirement = Requirement(left.pop())
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            name = canonicalize_name(requirement.name)
            if name not in names:
                left += metadata.requires(name) or ()
            names.add(name)
    return names


def _copy(package: metadata.Distribution, into: Path) -> None:
    for file in package.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), into / file)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    opened = Publisher(["tcp://127.0.0.1:*"])
    yield opened
    opened.close()


def read(reader: Reader, command: str, publisher: Publisher) -> tuple[int, str, str]:
    """What comes of a command that reads, while a camera door is published."""
    process = reader.start(command)

    def ended() -> bool:
        publisher.resend_last()
        publisher.send("result/here/door", a_result)
        say(publisher)
        return process.poll() is not None

    await_true(ended, 20, "the command's end")
    out, err = process.communicate()
    return process.returncode, out, err


def test_tail_shows_results_as_the_page_says(reader: Reader, publisher: Publisher) -> None:
    told = TOLD[-1].replace("tcp://edge1.local:5600", publisher.endpoints[0])
    status, out, _ = read(reader, f"{told} --count 1", publisher)
    assert (status, len(out.splitlines())) == (0, 1)
    assert "door" in out
    assert "bicycle" in out


def test_watch_shows_the_daemon(reader: Reader, publisher: Publisher) -> None:
    status, out, err = read(reader, f"reader/bin/adainfd watch --once --connect {publisher.endpoints[0]}", publisher)
    assert (status, err) == (0, "")
    assert re.search(r"door .*bicycle", out), out


PROGRAM = """
import sys
from adainfd.client import Result, Subscriber
with Subscriber(sys.argv[1]) as messages:
    for message in messages:
        if isinstance(message, Result):
            print(message.camera, message.labels[0].label)
            break
print(*sys.modules)
"""


def test_a_program_reads_with_it(reader: Reader, publisher: Publisher) -> None:
    (reader.folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    status, out, err = read(reader, f"reader/bin/python program.py {publisher.endpoints[0]}", publisher)
    assert (status, err) == (0, "")
    first, modules = out.splitlines()
    assert first == "door bicycle"
    assert not HEAVY & {*modules.split()}


def test_its_requirements_are_all_it_needs(reader: Reader) -> None:
    assert reader.run("reader/bin/pip check")[:2] == (0, "No broken requirements found.\n")
    assert not {"cv2", "numpy", "onnxruntime", "peft", "timm", "torch"} & {
        path.name for path in reader.packages.iterdir()
    }


@pytest.mark.parametrize("command", ["--help", "--version", "keys new dashboard", "tail --help", "watch --help"])
def test_other_commands_that_it_has(reader: Reader, command: str) -> None:
    status, out, err = reader.run(f"reader/bin/adainfd {command}")
    assert (status, err) == (0, "")
    assert out


@pytest.mark.parametrize(
    "command", ["run --source 0", "check-config edge.toml", "relay --bind tcp://127.0.0.1:*", "demo", "doctor"]
)
def test_commands_that_it_lacks_say_so(reader: Reader, command: str) -> None:
    assert_lacking(reader, command, "only the client is installed here, and this needs all of adainf", "CHECKOUT")


def assert_lacking(reader: Reader, command: str, why: str, added: str) -> None:
    """The command ends with one line: why, and the command of this environment's pip that helps."""
    status, out, err = reader.run(f"reader/bin/adainfd {command}")
    assert (status, out) == (69, "")
    assert re.fullmatch(rf"adainfd: {why}: {reader.folder}/reader/bin/python[\d.]* -m pip install {added}\n", err), err


@pytest.mark.parametrize(
    ("command", "module", "package"),
    [("watch --once", "rich", "rich"), ("tail", "zmq", "pyzmq"), ("tail", "msgspec", "msgspec")],
)
def test_a_package_that_is_missing_is_named(reader: Reader, command: str, module: str, package: str) -> None:
    (required,) = (line for line in project(CLIENT)["project"]["dependencies"] if line.startswith(package))
    (reader.packages / module).rename(reader.folder / "away")
    try:
        assert_lacking(reader, command, f"{package} is not installed", f"'{required}'")
    finally:
        (reader.folder / "away").rename(reader.packages / module)


def test_the_whole_and_the_client_replace_one_another(tmp_path: Path) -> None:
    for name in ("whole", "client"):
        (tmp_path / name).mkdir()
    whole, client = wheels.built(REPOSITORY, tmp_path / "whole"), wheels.built(CLIENT, tmp_path / "client")
    reader = Reader(tmp_path)
    assert reader.run(f"{sys.executable} -m venv --without-pip reader") == (0, "", "")
    programs = reader.folder / "reader" / "bin"
    before = {*reader.packages.iterdir()}, {*programs.iterdir()}
    pip = f"{sys.executable} -m pip --python reader --disable-pip-version-check --quiet"
    for wheel, has_models in ((client, False), (whole, True), (client, False)):
        status, _, err = reader.run(f"{pip} install --no-deps --no-index {wheel}")
        assert status == 0, err
        assert (reader.packages / "adainfd" / "client.py").is_file()
        assert (programs / "adainfd").is_file()
        assert ((reader.packages / "adainf" / "backbones").exists(), (programs / "adainf").exists()) == (
            has_models,
        ) * 2
    assert reader.run(f"{pip} uninstall --yes adainf")[0] == 0
    assert ({*reader.packages.iterdir()}, {*programs.iterdir()}) == before
