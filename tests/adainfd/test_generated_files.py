"""Whatever stands in a file that an owner edits: it is taken, or refused in one line that names its cause."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adainfd.config import Configuration
from adainfd.control import Policy
from generated import generous
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from adainf.errors import InvalidInputError
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
