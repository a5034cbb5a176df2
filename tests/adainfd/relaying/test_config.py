"""Whatever an owner writes is taken or refused with a cause; passwords are not said."""

import json
from pathlib import Path

import pytest
from adainfd.doctor import settings
from adainfd.relaying import from_command_line
from adainfd.relaying.config import MqttSection
from adainfd.relaying.mqtt.address import BrokerAddress
from adainfd.relaying.mqtt.broker import Broker
from adainfd.wire.keys import KeyPair
from daemons import PASSWORD
from generated import generous
from hypothesis import given
from hypothesis import strategies as st

from adainf.base.errors import InvalidInputError


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
    "box": ("connect", "server", "host", "conect"),
    "publish": ("bind", "clients", "unprotected"),
    "mqtt": ("url", "user", "password_file", "ca_file", "prefix", "discovery", "binary_sensors", "name"),
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


BOX = '[[box]]\nconnect = "tcp://127.0.0.1:5600"\n'
MQTT = f'{BOX}[mqtt]\nurl = "mqtts://me@broker.local"\n'


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the keys of a relay and of a box."""
    monkeypatch.chdir(tmp_path)
    for name in ("own", "box"):
        KeyPair.new(tmp_path / name)
    (tmp_path / "clients").mkdir()
    (tmp_path / "password").write_text("agreed\n", encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as large:
        large.truncate(3 << 40)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f'key = "own.key_secret"\n{BOX}server = "box.key"\n[publish]\nbind = ["tcp://*:1"]\nclients = "clients"\n',
            "relay of tcp://127.0.0.1:5600, published at tcp://*:1",
        ),
        (f'{MQTT}password_file = "password"\n', "relay of tcp://127.0.0.1:5600, broker mqtts://broker.local:8883"),
    ],
)
def test_a_relays_file_is_checked_as_one(keys: Path, text: str, said: str) -> None:
    (keys / "relay.toml").write_text(text, encoding="utf-8")
    assert settings.check(keys / "relay.toml") == said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (BOX, "give either publish.bind"),
        ('[mqtt]\nurl = "mqtt://h"', "box: none given"),
        (f"{BOX}serve = 1", "box.0.serve: unknown key; did you mean server?"),
        (f'key = "nosuch.key_secret"\n{BOX}[publish]\nbind = ["ipc://s"]', "key nosuch.key_secret: cannot be read"),
        (f'key = "own.key"\n{BOX}[publish]\nbind = ["ipc://s"]', "key own.key: holds no secret key"),
        (f'key = "own.key_secret"\n{BOX}server = "nosuch.key"\n[publish]\nbind = ["ipc://s"]', "nosuch.key"),
        (f'key = "own.key_secret"\n{BOX}[publish]\nbind = ["ipc://s"]\nclients = "nosuch"', "clients nosuch"),
        (f'{MQTT}password_file = "nosuch"', "mqtt.password_file nosuch: cannot be read (No such file or directory)"),
        (f'{MQTT}password_file = "."', "mqtt.password_file .: cannot be read (Is a directory)"),
        (f'{MQTT}ca_file = "nosuch"', "mqtt.ca_file nosuch: cannot be read (No such file or directory)"),
        (f'{MQTT}ca_file = "."', "mqtt.ca_file .: cannot be read (Is a directory)"),
        (f'{MQTT}ca_file = "password"', "mqtt.ca_file password: holds no certificate"),
        (f'{MQTT}ca_file = "/dev/null"', "mqtt.ca_file /dev/null: cannot be read (Is no file)"),
        (f'{MQTT}ca_file = "/dev/zero"', "mqtt.ca_file /dev/zero: cannot be read (Is no file)"),
        (f'{MQTT}ca_file = "empty"', "mqtt.ca_file empty: holds no certificate"),
        (f'{MQTT}ca_file = "large"', "mqtt.ca_file large: cannot be read (Is larger than 1 MiB)"),
        (
            f'{BOX}[mqtt]\nurl = "mqtt://h"\npassword_file = "password"',
            "password_file: goes together with user, which may also stand in the url before its host",
        ),
        (f'{BOX}host = "a/b"\n[mqtt]\nurl = "mqtt://h"', "box.0.host"),
        (f'{BOX}host = []\n[mqtt]\nurl = "mqtt://h"', "box.0.host"),
        (f'{MQTT}name = "a/b"', "mqtt.name: 'a/b'"),
        (f'{MQTT}prefix = "a\\u0000"', "mqtt.prefix"),
        (f'{MQTT}binary_sensors = {{ gate = {{ device_class = "door" }} }}', "mqtt.binary_sensors.gate.on"),
        (f'{MQTT}binary_sensors = {{ "a/b/c" = {{ device_class = "door", on = "x" }} }}', "mqtt.binary_sensors.a/b/c"),
        (f'{MQTT}binary_sensors = {{ gate = {{ device_class = "Door", on = "x" }} }}', "gate.device_class: 'Door'"),
    ],
)
def test_all_that_is_wrong_with_a_relays_file_is_found(keys: Path, text: str, named: str) -> None:
    (keys / "relay.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        settings.check(keys / "relay.toml")
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_differ_by_relay_and_stay(keys: Path) -> None:
    def name(file: str | None, *more: str) -> str | None:
        path = None if file is None else keys / file
        mqtt = from_command_line(path, more, [], None if file else "mqtt://h").mqtt
        return None if mqtt is None else mqtt.name

    (keys / "a.toml").write_text(MQTT, encoding="utf-8")
    (keys / "b.toml").write_text(MQTT, encoding="utf-8")
    (keys / "c.toml").write_text(f'{MQTT}name = "c"\n', encoding="utf-8")
    names = [name("a.toml"), name("b.toml"), name("c.toml"), name(None, "ipc://a"), name(None, "ipc://b")]
    assert len(set(names)) == len(names)
    assert names[2] == "c"
    (keys / "a.toml").write_text(f"{BOX}{MQTT}", encoding="utf-8")  # a box more is no other relay
    assert names == [name("a.toml"), name("b.toml"), name("c.toml"), name(None, "ipc://a"), name(None, "ipc://b")]


@pytest.mark.parametrize("content", [b"agreed", b"agreed\n", b"\xef\xbb\xbfagreed\r\n"])
def test_password_is_what_an_editor_shows(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(0o640)
    section = MqttSection(url="mqtt://h", user="me", password_file=file)
    broker = Broker(section, "x", ("t", b""), None, connected=lambda: None, received=lambda *_: None)
    assert broker._client.password == "agreed"  # noqa: S105
