"""Whatever an owner writes is taken or refused with a cause; passwords are not said."""

import json
from pathlib import Path

import pytest
from adainfd.relaying import from_command_line
from adainfd.relaying.address import BrokerAddress
from daemons import PASSWORD
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.errors import InvalidInputError


@pytest.mark.parametrize(
    ("url", "host", "port", "encrypted", "user", "password"),
    [
        ("mqtt://broker.local", "broker.local", 1883, False, None, None),
        ("mqtts://broker.local", "broker.local", 8883, True, None, None),
        ("mqtt://me:p%40ss@[::1]:1884/", "::1", 1884, False, "me", "p@ss"),
    ],
)
def test_addresses(url: str, host: str, port: int, encrypted: bool, user: str | None, password: str | None) -> None:
    assert BrokerAddress.parse(url) == BrokerAddress(host, port, encrypted, user, password)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://h",
        "mqtt://",
        "mqtt://h:0",
        "mqtt://h:70000",
        "mqtt://h/topic",
        "mqtt://h?x=1",
        "mqtt://[::",
    ],
)
def test_refused_addresses(url: str) -> None:
    with pytest.raises(InvalidInputError, match="broker"):
        BrokerAddress.parse(url)


def test_password_is_not_shown() -> None:
    address = BrokerAddress.parse(f"mqtt://me:{PASSWORD}@h")
    assert PASSWORD not in f"{address!r} {address}"
    with pytest.raises(InvalidInputError) as refused:
        BrokerAddress.parse(f"mqtt://me:{PASSWORD}@h/topic")
    assert PASSWORD not in str(refused.value)


values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["ipc://a", "mqtt://h", "tcp://*:1", "."]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
tables = {
    "box": ("connect", "server", "conect"),
    "publish": ("bind", "clients", "unprotected"),
    "mqtt": ("url", "user", "password_file", "ca_file", "prefix", "discovery"),
}


@pytest.mark.generated
@generous(300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "key": values,
            **{name: st.dictionaries(st.sampled_from(keys), values, max_size=3) for name, keys in tables.items()},
        },
    )
)
def test_any_configuration_is_taken_or_refused_with_a_cause(tmp_path: Path, told: dict[str, object]) -> None:
    lines = []
    for name, value in sorted(told.items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict):
            lines.append(f"[[{name}]]" if name == "box" else f"[{name}]")
            lines += [f"{key} = {json.dumps(inner)}" for key, inner in value.items()]
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    file = tmp_path / "relay.toml"
    file.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    refusal = f"configuration {file}: "
    try:
        from_command_line(file, [], [], None)
    except InvalidInputError as error:
        refusal = str(error)
    assert refusal.startswith(f"configuration {file}: ")
    assert "\n" not in refusal
