"""Whatever stands in a file that an owner edits: it is taken, or refused in one line that names its cause."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adainfd.answering.audit import Audit
from adainfd.config.configuration import Configuration
from adainfd.wire.keys import KeyPair
from generated import generous
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from adainf.base.errors import InvalidInputError
from adainf.control import Policy
from adainf.profile import Profile

pytestmark = pytest.mark.generated
PASSWORD = "hunter2"  # noqa: S105

wild = st.recursive(
    st.one_of(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.booleans(),
        st.text(max_size=8),
        st.sampled_from(
            ["", "balanced", "door", "a/b", "tcp://127.0.0.1:5600", "ipc://s", f"rtsp://me:{PASSWORD}@h/x"]
        ),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=3),
    max_leaves=8,
)


def tables(model: type[BaseModel], depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with this model's keys or nearly so, and values that fit or do not."""
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        inner = nested(field.annotation)
        fitting = wild if inner is None or depth > 2 else tables(inner, depth + 1)
        many = st.lists(fitting, max_size=2) if inner is not None else fitting
        values[field.alias or name] = st.one_of(fitting, many, wild)
    known = st.fixed_dictionaries({}, optional=values)
    unknown = st.dictionaries(st.sampled_from(["nmae", "x", "sauce", "maximun"]), wild, max_size=1)
    return st.builds(lambda a, b: a | b, known, st.one_of(st.just({}), st.just({}), unknown))


def nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := nested(part))), None)


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value).replace("e+", "e") if value == value and abs(value) != float("inf") else repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def assert_taken_or_refused(file: Path, kind: str, read: Callable[[], object]) -> None:
    try:
        read()
    except InvalidInputError as error:
        message = str(error)
        assert message.startswith(f"{kind} {file}: ")
        assert len(message.splitlines()) == 1
        assert len(message) > len(f"{kind} {file}: ") + 5
        if kind != "profile":  # which holds no addresses
            assert PASSWORD not in message


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated") / "file"


@generous(300)
@given(told=tables(Configuration))
def test_configurations(file: Path, told: dict[str, Any]) -> None:
    file.write_text("\n".join(f"{key} = {toml(value)}" for key, value in told.items()), encoding="utf-8")
    assert_taken_or_refused(file, "configuration", lambda: Configuration.read(file))


@generous(300)
@given(told=tables(Policy))
def test_policies(file: Path, told: dict[str, Any]) -> None:
    file.write_text("\n".join(f"{key} = {toml(value)}" for key, value in told.items()), encoding="utf-8")
    assert_taken_or_refused(file, "policy", lambda: Policy.read(str(file)))


@generous(300)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_noise(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert_taken_or_refused(file, "configuration", lambda: Configuration.read(file))
    assert_taken_or_refused(file, "policy", lambda: Policy.read(str(file)))
    assert_taken_or_refused(file, "profile", lambda: Profile.read(file))


def replaced(value: Any, path: list[int], new: Any) -> Any:
    """`value` with what lies at `path` replaced; each step counts modulo what is there."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[path[0] % len(keys)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], path[1:], new)
    return copy


@generous(300)
@given(path=st.lists(st.integers(0, 20), min_size=1, max_size=4), new=wild)
def test_profiles_with_something_else_in_one_place(file: Path, network: Any, path: list[int], new: Any) -> None:
    good = json.loads(network.profile.read_text(encoding="utf-8"))
    file.write_text(json.dumps(replaced(good, path, new)), encoding="utf-8")
    assert_taken_or_refused(file, "profile", lambda: Profile.read(file))


hostile = st.sampled_from(list(HOSTILE.values())) | st.binary(max_size=300) | st.text(max_size=100).map(str.encode)


@generous(100)
@given(content=hostile)
def test_what_was_learned_is_nothing_where_it_makes_no_sense(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert Audit.load(file) == Audit()


READ = (
    "c.toml",
    "t",
    "k",
    "policy.toml",
    "profile.json",
    "weights.safetensors",
    "weights.pth",
    "run/manifest.json",
    "clients/other.key",
    "secret",
    "server",
)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory, network: Any) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """By what reads it: a file that may hold anything, and the command that reads it."""
    folder = tmp_path_factory.mktemp("readers")
    for name in ("run", "clients"):
        (folder / name).mkdir()
    for name in ("box", "clients/friend"):
        KeyPair.new(folder / name)
    good = network.configuration(folder / "good.toml", bind="ipc://s").read_text(encoding="utf-8")
    weights, profile = (f"{key} = {json.dumps(str(getattr(network, key)))}\n" for key in ("weights", "profile"))
    keys = "\nkey = 'box.key_secret'\nclients = 'clients'\n"
    configurations = {
        "policy.toml": good.replace("[model]", "[model]\npolicy = 'policy.toml'"),
        "profile.json": good.replace(profile, "profile = 'profile.json'\n"),
        "weights.safetensors": good.replace(weights, "weights = 'weights.safetensors'\n"),
        "weights.pth": good.replace(weights, "weights = 'weights.pth'\n"),
        "run/manifest.json": good.replace(profile, "run = 'run'\n"),
        "clients/other.key": good + keys,
        "secret": good + keys.replace("box.key_secret", "secret"),
        "server": "key = 'box.key_secret'\nbox = [{connect = 'ipc://a', server = 'server'}]\npublish = {bind = ['ipc://b']}",
    }
    commands: dict[str, tuple[str, ...]] = {
        "c.toml": ("check-config", "c.toml"),
        "t": ("replay", "t"),
        "k": ("keys", "show", "k"),
    }
    for number, (name, text) in enumerate(configurations.items()):
        (folder / f"{number}.toml").write_text(text, encoding="utf-8")
        commands[name] = ("check-config", f"{number}.toml")
    return {name: (folder / name, commands[name]) for name in READ}


def assert_said_in_one_line(said: Any) -> None:
    assert said.returncode in (0, 78), said.stderr
    assert len(said.stderr.splitlines()) == (1 if said.returncode else 0)
    assert len(said.stderr) < 1000


@generous(25)
@given(name=st.sampled_from(READ), content=hostile)
def test_commands_refuse_whatever_stands_in_a_file(readers: Any, zygote: Any, name: str, content: bytes) -> None:
    file, command = readers[name]
    file.write_bytes(content)
    file.chmod(0o600)
    try:
        assert_said_in_one_line(zygote.run(["adainfd", *command], readers["c.toml"][0].parent))
    finally:
        file.unlink()


def test_commands_refuse_files_of_ten_gigabytes(readers: Any, zygote: Any) -> None:
    for file, command in readers.values():
        file.touch(0o600)
        os.truncate(file, 10 << 30)
        said = zygote.run(["adainfd", *command], readers["c.toml"][0].parent)
        assert_said_in_one_line(said)
        assert said.returncode == 78
        file.unlink()
