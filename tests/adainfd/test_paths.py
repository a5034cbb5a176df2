"""Every path that a user can name, with every error that the system can have for one: one line that names it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from adainfd.wire.keys import KeyPair
from daemons import Network
from forking import forked
from users import as_ordinary_user

from adainf.backbones import Options, weights
from adainf.base.errors import InvalidInputError

WRONG, MISSING = 78, 69

# What is to be refused for a path, wherever it stands. Each stands below the folder `bad`.
BAD = {
    "closed": "closed/file.toml",
    "below a file": "file/below.toml",
    "too long": "x" * 300 + ".toml",
    "too deep": "folder/" * 700 + "file.toml",
    "a loop": "loop.toml",
    "a folder": "folder.toml",
    "a device": "/dev/full",
    "endless": "/dev/zero",
    "not UTF-8": os.fsdecode(b"caf\xe9.toml"),
    "control characters": "\x1b[31m\nred.toml",
}
ALL, NEVER_FOLDERS = set(BAD), set(BAD) - {"a folder"}
NEW = ALL - {"control characters"}  # a file that is to be written may be called so

# Each command that takes a path, and which of them it must refuse. PATH is put where it stands.
COMMANDS: dict[str, tuple[str, Sequence[str], set[str]]] = {
    "run --config": ("adainfd", ("run", "--config", "PATH"), ALL),
    "run --policy": ("adainfd", ("run", "--source", "clip.mp4", "--bind", "ipc://s", "--policy", "./PATH"), ALL),
    "run --profile": ("adainfd", ("run", "--source", "clip.mp4", "--bind", "ipc://s", "--profile", "./PATH"), ALL),
    "run --run": ("adainfd", ("run", "--source", "clip.mp4", "--bind", "ipc://s", "--run", "./PATH"), ALL),
    "run --bind": ("adainfd", ("run", "--source", "clip.mp4", "--bind", "ipc://PATH"), NEW),
    "tail --key": ("adainfd", ("tail", "--connect", "ipc://s", "--key", "PATH", "--server", "x" * 40), ALL),
    "tail --server": ("adainfd", ("tail", "--connect", "ipc://s", "--key", "box.key_secret", "--server", "PATH"), ALL),
    "relay --config": ("adainfd", ("relay", "--config", "PATH"), ALL),
    "keys new": ("adainfd", ("keys", "new", "PATH/k"), ALL),
    "keys show": ("adainfd", ("keys", "show", "PATH"), NEVER_FOLDERS),
    "check-config": ("adainfd", ("check-config", "PATH"), ALL),
    "adopt": ("adainfd", ("adopt", "PATH", "--profile", "efficientnet-lite0"), ALL),
    "adopt --run": ("adainfd", ("adopt", "good.toml", "--run", "./PATH"), ALL),
    "rollback": ("adainfd", ("rollback", "PATH"), ALL),
    "replay": ("adainfd", ("replay", "PATH"), ALL),
    "measure": ("adainf", ("measure", "./PATH"), ALL),
    "calibrate --run": ("adainf", ("calibrate", "--run", "./PATH", "--images", "."), ALL),
    "calibrate --labels": (
        "adainf",
        ("calibrate", "--backbone", "a/b", "--out", "o", "--images", ".", "--labels", "./PATH"),
        ALL,
    ),
    "calibrate --out": ("adainf", ("calibrate", "--backbone", "a/b", "--images", ".", "--out", "PATH"), NEW),
    "evaluate --profile": ("adainf", ("evaluate", "--profile", "./PATH", "--images", "."), ALL),
    "export --profile": ("adainf", ("export", "--profile", "./PATH", "--budget", "1", "--out", "o"), ALL),
    "fetch --from": ("adainf", ("fetch", "--from", "PATH"), ALL - {"endless", "a device"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """Where all these paths are."""
    folder = tmp_path_factory.mktemp("paths")
    (folder / "closed").mkdir(mode=0o000)
    (folder / "file").touch()
    (folder / "file.toml").write_text("nosuch = 1", encoding="utf-8")
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "folder.toml").mkdir()
    (folder / "folder.toml" / "k.key").touch()
    (folder / "good.toml").touch()
    KeyPair.new(folder / "box")
    (folder / "clip.mp4").symlink_to(clip)
    return folder


def some(kinds: Sequence[str], number: int) -> Sequence[str]:
    """All of them where so many examples are wanted, else a few: others for each command."""
    few = [kinds[(number * 2 + step) % len(kinds)] for step in range(2)]
    return kinds if "ADAINF_EXAMPLES" in os.environ else few


@pytest.mark.generated
def test_paths_on_command_lines(folder: Path, environment: dict[str, str]) -> None:
    commands = {
        f"{name}, {kind}": [program, *(argument.replace("PATH", BAD[kind]) for argument in arguments)]
        for number, (name, (program, arguments, kinds)) in enumerate(COMMANDS.items())
        for kind in some(sorted(kinds), number)
    }
    before = sorted(path.name for path in folder.iterdir())
    assert not refused_wrongly(folder, environment, commands)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert Path("/dev/full").is_char_device()


def refused_wrongly(folder: Path, environment: dict[str, str], commands: dict[str, list[str]]) -> dict[str, str]:
    """Of commands that are to be refused, those that are not, with what they said; run for an ordinary user."""
    return {
        name: f"status {status}: {said}"
        for (name, _), (status, said) in zip(
            commands.items(), forked(commands.values(), folder, environment, before=as_ordinary_user()), strict=True
        )
        if status not in (WRONG, MISSING) or len(said.splitlines()) != 1 or not said.strip("\n").isprintable()
    }


SMALL = "model = {{backbone = 'cifar/resnet20', profile = {profile}}}\n"
# What a configuration needs for a path that stands under this key. Some paths are right for some keys.
KEYS = {
    "weights": "model = {{backbone = 'cifar/resnet20', weights = {path}, profile = {profile}}}",
    "profile": "model = {{profile = {path}}}",
    "run": "model = {{run = {path}}}",
    "policy": "model = {{policy = {path}}}",
    "key": SMALL + "publish = {{key = {path}, clients = '.'}}",
    "clients": SMALL + "publish = {{key = 'box.key_secret', clients = {path}}}",
    "a camera's policy": "camera = [{{name = 'a', source = '0', policy = {path}}}]",
    "source": "camera = [{{name = 'a', source = {path}}}]",
}
NUL = "a\0b"


@pytest.mark.generated
def test_paths_in_configurations(folder: Path, tmp_path: Path, environment: dict[str, str], network: Network) -> None:
    commands = {}
    paths = {**BAD, "NUL": NUL, "empty": ""}
    for number, (key, text) in enumerate(KEYS.items()):
        for kind in ["NUL", *some(sorted(paths), number)]:
            path = paths[kind]
            opened_by_a_run = key in ("weights", "source") and kind != "NUL"
            if opened_by_a_run or kind == "not UTF-8" or (key, kind) == ("clients", "a folder"):
                continue
            file = tmp_path / f"{key} {kind}.toml"
            told = f"./{path}" if path and not path.startswith("/") else path
            file.write_text(text.format(path=json.dumps(told), profile=json.dumps(str(network.profile))), "utf-8")
            commands[f"{key}, {kind}"] = ["adainfd", "check-config", str(file)]
    assert not refused_wrongly(folder, environment, commands)


@pytest.mark.parametrize("kind", sorted(BAD.keys() - {"closed"}))
def test_weights(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Read by a run, which takes its time to come so far."""
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInputError, match=r"^weights "):
        weights.read(Options(f"./{BAD[kind]}").weights_file or Path())


def test_a_configuration_that_can_be_read_once_only_is_checked_itself(network: Network) -> None:
    """As `check-config <(…)` gives it; what was read twice was found empty, and so good."""
    from adainfd.doctor import settings

    told = network.configuration(network.profile.with_name("once.toml"), bind="tcp://127.0.0.1:5600").read_bytes()
    read, write = os.pipe()
    os.write(write, told)
    os.close(write)
    assert "cifar/resnet20" in settings.check(Path(f"/dev/fd/{read}"))
    os.close(read)


def test_pictures_that_may_not_be_listed(tmp_path: Path, environment: dict[str, str], network: Network) -> None:
    """A camera may be away when its configuration is checked; the doctor says that it is."""
    (tmp_path / "pictures").mkdir(mode=0o000)
    camera = {"name": "door", "source": "pictures"}
    network.configuration(tmp_path / "c.toml", bind="ipc://s", cameras=[camera])
    commands = [["adainfd", "check-config", "c.toml"], ["adainfd", "doctor", "c.toml"]]
    checked, looked = forked(commands, tmp_path, environment, before=as_ordinary_user())
    assert checked[0] == 0, checked
    assert looked[0] == 1, looked
    assert "pictures: cannot be read (Permission denied)" in looked[1]
    assert "Traceback" not in looked[1]
