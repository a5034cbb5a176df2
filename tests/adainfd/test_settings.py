"""Configurations with their policies and profiles, as `adainfd check-config` checks them."""

from pathlib import Path

import pytest
from adainfd.adopting import adopt
from adainfd.config.configuration import Configuration
from adainfd.doctor.settings import check, from_command_line
from adainfd.wire.keys import KeyPair
from daemons import Network

from adainf.base.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[model]\nbackbon = 'x'", ["model.backbon", "did you mean backbone?"]),
        ("[models]", ["models", "did you mean model?"]),
        ("[[camera]]\nname = 'a'\nsource = 'a.mp4'\nlopp = true", ["camera.0.lopp", "did you mean loop?"]),
        ("[model\n", ["is not TOML", "line 1"]),
        ("[model]\nthreads = 0", ["model.threads", "0", "greater than or equal to 1"]),
        ("[model]\nthreads = 'two'", ["model.threads", "'two'"]),
        ("[model]\nsize = 4", ["model.size", "4"]),
        ("[model]\nmean = [1.0, 2.0]", ["model.mean"]),
        ("[publish]\ntop = 0", ["publish.top", "0"]),
        ("[publish]\nhost = ''", ["publish.host", "''"]),
        ("[publish]\nkey = ''\nclients = ''", ["publish.key", "must not be empty"]),
        ("[model]\npolicy = 'a\\u0000b'".replace("'", '"'), ["model.policy", "U+0000"]),
        ("[publish]\nhost = 'a b'", ["publish.host", "'a b'"]),
        ("[publish]\nbind = []", ["publish.bind"]),
        ("[publish]\nbind = ['tcp://127.0.0.1:65536']", ["publish.bind", "65536"]),
        ("[publish]\nbind = [{address = 'ipc://s', format = 'yaml'}]", ["publish.bind.0.format", "'yaml'", "msgpack"]),
        ("[publish]\nbind = [{format = 'json'}]", ["publish.bind.0.address", "missing"]),
        ("[publish]\nbind = [5600]", ["publish.bind.0", "5600"]),
        ("[publish]\nbind = ['tcp://0.0.0.0:5600']", ["publish", "'tcp://0.0.0.0:5600' is open to the network"]),
        ("[publish]\nbind = ['tcp://*:5600']", ["publish", "keys new", "unprotected = true"]),
        ("[publish]\nkey = 'a.key_secret'", ["publish", "key and clients go together"]),
        ("[publish]\nkey = 'nosuch.key_secret'\nclients = '.'", ["nosuch.key_secret", "cannot be read"]),
        ("[[camera]]\nname = 'front door'\nsource = 'a.mp4'", ["camera.0.name", "'front door'"]),
        ("[[camera]]\nname = ''\nsource = 'a.mp4'", ["camera.0.name", "''"]),
        ("[[camera]]\nname = 'a/b'\nsource = 'a.mp4'", ["camera.0.name", "'a/b'"]),
        ("[[camera]]\nname = 'a'", ["camera.0.source", "missing"]),
        ("[[camera]]\nname = 'a'\nsource = ''", ["camera.0.source", "''"]),
        ("[[camera]]\nname = 'a'\nsource = '1'\n[[camera]]\nname = 'a'\nsource = '2'", ["camera", " a stands twice"]),
        ("camera = 3", ["camera", "3"]),
        ("[model]\npolicy = 'nosuch'", ["'nosuch'", "balanced"]),
        ("[model]\npolicy = './nosuch.toml'", ["nosuch.toml", "no such file"]),
        ("[model]\nprofile = 'nosuch'", ["'nosuch'"]),
    ],
)
def test_refused_configurations(tmp_path: Path, text: str, named: list[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        check(file)
    assert "\n" not in str(refused.value)
    for thing in named:
        assert thing in str(refused.value)


@pytest.mark.parametrize(
    "publish",
    [
        "bind = ['tcp://0.0.0.0:5600']\nunprotected = true",
        "bind = ['tcp://0.0.0.0:5600', 'ipc://s']\nkey = 'a.key_secret'\nclients = '.'",
        "bind = ['tcp://127.0.0.1:5600', 'tcp://[::1]:5601', 'tcp://localhost:5602', {address = 'ipc://s'}]",
    ],
)
def test_what_is_protected_or_said_to_need_no_protection(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: str
) -> None:
    monkeypatch.chdir(tmp_path)
    KeyPair.new(Path("a"))
    file = network.configuration(tmp_path / "c.toml", bind="ipc://s")
    file.write_text(file.read_text(encoding="utf-8").replace('bind = ["ipc://s"]', publish), encoding="utf-8")
    assert check(file)


ADDRESS = "rtsp://admin:hunter2@10.0.0.7/cam?user=admin&password=hunter2"
CAMERA = f"[[camera]]\nname = 'door'\nsource = '{ADDRESS}'\n"


@pytest.mark.parametrize(
    "text",
    [
        CAMERA * 2,
        CAMERA.replace("door", "the door"),
        CAMERA + "unknown = 1",
        f"camera = ['{ADDRESS}']",
        f"camera = '{ADDRESS}'",
        CAMERA.replace(f"'{ADDRESS}'", f"['{ADDRESS}']"),
    ],
)
def test_no_credentials_in_errors(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError) as refused:
        check(file)
    assert "camera" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def broken_profile(network: Network, file: Path, breakage: str) -> Path:
    text = network.profile.read_text(encoding="utf-8")
    match breakage:
        case "cut":
            text = text[: len(text) // 2]
        case "foreign":
            text = text.replace('"cifar/resnet20"', '"timm/resnet18"')
        case "other schema":
            text = text.replace("adainf.profile/2", "adainf.profile/9")
        case "other size":
            text = text.replace('"native_resolution": 32', '"native_resolution": 24').replace('"32:', '"24:')
        case "list":
            text = "[]"
        case "missing":
            return file
    assert text != network.profile.read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("breakage", "named"),
    [
        ("missing", "no such file"),
        ("cut", "is not JSON"),
        ("foreign", "is of timm/resnet18"),
        ("other schema", "adainf.profile/9"),
        ("other size", "stands there twice"),
        ("list", "schema"),
    ],
)
def test_refused_profiles(network: Network, tmp_path: Path, breakage: str, named: str) -> None:
    profile = broken_profile(network, tmp_path / "p.json", breakage)
    file = network.configuration(tmp_path / "c.toml", bind="ipc://s")
    file.write_text(file.read_text(encoding="utf-8").replace(str(network.profile), str(profile)), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=named) as refused:
        check(file)
    assert str(profile) in str(refused.value)


def test_command_line_goes_before_the_file(network: Network, tmp_path: Path) -> None:
    file = network.configuration(
        tmp_path / "c.toml", bind="ipc://file", cameras=[{"name": "door", "source": "door.mp4"}]
    )
    told = from_command_line(
        file, ["a/v.mp4", "b/v.mp4", "0"], loop=True, bind=["ipc://line"], policy="x", profile=None
    )
    assert [(camera.name, camera.source) for camera in told.camera] == [
        ("v", "a/v.mp4"),
        ("v-2", "b/v.mp4"),
        ("camera0", "0"),
    ]
    assert all(camera.loop for camera in told.camera)
    assert ([endpoint.address for endpoint in told.publish.bind], told.publish.host) == (["ipc://line"], "here")
    assert (told.model.policy, told.model.profile) == ("x", str(network.profile))


def test_without_options_the_file_stands(network: Network, tmp_path: Path) -> None:
    file = network.configuration(
        tmp_path / "c.toml", bind="ipc://file", cameras=[{"name": "door", "source": 0, "loop": True}]
    )
    told = from_command_line(file, [], loop=False, bind=[], policy=None, profile=None)
    assert [(camera.name, camera.source, camera.loop) for camera in told.camera] == [("door", "0", True)]
    assert [endpoint.address for endpoint in told.publish.bind] == ["ipc://file"]
    assert told.model.policy == "balanced"


@pytest.mark.parametrize(
    ("system", "host"),
    [
        ("box-7.example_net", "box-7.example_net"),
        ("front door #1", "front-door-1"),
        ("küche/+", "k-che"),
        ("ÄÖ", "localhost"),
        ("", "localhost"),
        ("x" * 64, "x" * 64),
    ],
)
def test_the_systems_host_name_is_made_fit(monkeypatch: pytest.MonkeyPatch, system: str, host: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: system)
    told = from_command_line(None, ["a.mp4"], loop=False, bind=["ipc://s"], policy=None, profile=None)
    assert (told.publish.host, Configuration().publish.host) == (host, host)


def test_files_that_begin_with_a_byte_order_mark(network: Network, tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    policy, profile, file = tmp_path / "p.toml", tmp_path / "p.json", tmp_path / "c.toml"
    policy.write_bytes(mark + b"[budget]\r\nmaximum = 0.5\r\n")
    profile.write_bytes(mark + network.profile.read_bytes())
    text = network.configuration(file, bind="ipc://s").read_text(encoding="utf-8")
    text = text.replace(str(network.profile), str(profile)).replace("[publish]", f"policy = '{policy}'\n[publish]")
    file.write_bytes(mark + text.encode())
    assert str(policy) in check(file)
    adopt(file, profile=str(network.profile))
    assert str(network.profile) in file.read_text(encoding="utf-8")
    file.write_bytes(text.encode("utf-16"))
    with pytest.raises(InvalidInputError, match=r"is UTF-16, .* save it as UTF-8"):
        check(file)
