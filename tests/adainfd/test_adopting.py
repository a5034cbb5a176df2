"""Another profile in a configuration file, and the way back."""

import contextlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from adainfd import adopting
from adainfd.config.configuration import ModelSection
from colours import teach
from daemons import Network, assert_refused
from forking import Zygote

from adainf.base.errors import InvalidInputError
from adainf.base.tomlfile import load
from adainf.profile import Profile


@pytest.fixture
def configuration(network: Network, ipc: str, tmp_path: Path) -> Path:
    file = network.configuration(tmp_path / "edge.toml", bind=ipc, cameras=[{"name": "door", "source": "0"}])
    file.write_text(f"# mine\n{file.read_text(encoding='utf-8')}# the end\n", encoding="utf-8")
    file.chmod(0o640)
    return file


@pytest.fixture
def another(network: Network, tmp_path: Path) -> Path:
    profile = Profile.read(network.profile)
    file = tmp_path / "another.json"
    profile.model_copy(update={"branches": profile.branches[:3]}).write(file)
    return file


def test_adopted_rolled_back_and_forward_again(run: Any, configuration: Path, another: Path) -> None:
    before = configuration.read_text(encoding="utf-8")
    adopted = run("adopt", configuration, "--profile", another)
    assert (adopted.returncode, adopted.stderr) == (0, "")
    assert "3 branches" in adopted.stdout
    after = configuration.read_text(encoding="utf-8")
    assert f'profile = "{another}"' in after
    assert set(before.splitlines()) - set(after.splitlines()) == {
        line for line in before.splitlines() if line.startswith("profile =")
    }
    assert configuration.stat().st_mode & 0o777 == 0o640
    assert configuration.with_name("edge.toml.before").stat().st_mode & 0o777 == 0o640

    assert run("rollback", configuration).returncode == 0
    assert configuration.read_text(encoding="utf-8") == before
    assert run("rollback", configuration).returncode == 0
    assert configuration.read_text(encoding="utf-8") == after


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--profile", "efficientnet-lite0"), "is of timm/tf_efficientnet_lite0"),
        (("--profile", "none.json"), "no such file"),
        (("--run", "nonesuch"), "run nonesuch: no such folder"),
        ((), "give --run, --profile or both"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    run_forked: Any, configuration: Path, arguments: tuple[str, ...], named: str
) -> None:
    before = configuration.read_text(encoding="utf-8")
    assert_refused(run_forked("adopt", configuration, *arguments), 78, named)
    assert configuration.read_text(encoding="utf-8") == before
    assert not list(configuration.parent.glob("edge.toml.*"))


def test_nothing_to_go_back_to(run: Any, configuration: Path) -> None:
    assert_refused(run("rollback", configuration), 78, "nothing to go back to")


def test_classes_are_rolled_back_and_forward_again(run: Any, zygote: Zygote, network: Network, tmp_path: Path) -> None:
    file = teach(zygote, network, ("red", "blue"), tmp_path)
    before = file.with_name("colours.classes.before")
    assert_refused(run("rollback", "--classes", file), 78, "nothing to go back to")
    first = file.read_bytes()
    file.chmod(0o640)
    shutil.copytree(tmp_path / "pictures" / "red", tmp_path / "pictures" / "rosy")
    again = ["adainf", "teach", "--images", str(tmp_path / "pictures"), "--profile", str(network.profile)]
    told = zygote.run([*again, "--weights", str(network.weights), "--out", str(file)], tmp_path)
    assert told.returncode == 0, told.stderr
    assert "before" in told.stdout
    assert before.read_bytes() == first
    second = file.read_bytes()
    assert second != first

    back = run("rollback", "--classes", file)
    assert (back.returncode, back.stderr) == (0, "")
    assert "blue, red" in back.stdout
    assert "reload the daemon" in back.stdout
    assert (file.read_bytes(), before.read_bytes()) == (first, second)
    assert file.stat().st_mode & 0o777 == before.stat().st_mode & 0o777 == 0o640
    assert run("rollback", "--classes", file).returncode == 0
    assert (file.read_bytes(), before.read_bytes()) == (second, first)

    before.write_bytes(first[:-100])
    assert_refused(run("rollback", "--classes", file), 78, str(before))
    assert file.read_bytes() == second
    assert_refused(run("rollback", "--classes", tmp_path / "none"), 78, "no such file")
    assert not list(tmp_path.glob("*.spare"))


class Unchecked:
    """A configuration of which only the section [model] is looked at."""

    def __init__(self, model: ModelSection) -> None:
        self.model = model

    @classmethod
    def read(cls, file: Path) -> "Unchecked":
        return cls(ModelSection.model_validate(load(file, "configuration").get("model", {})))


ORDINARY = (
    '# mine\n[model] # of the yard\nbackbone = "timm/x"\n  profile = "old"   # of spring\n[publish]\nhost = "h"\n'
)


@pytest.mark.parametrize(
    ("text", "cannot"),
    [
        (ORDINARY, False),
        (ORDINARY.replace("\n", "\r\n"), False),
        (f"\ufeff{ORDINARY}", False),
        (ORDINARY.replace("[model]", '[ "model" ]'), False),
        (ORDINARY.replace("  profile", "'profile'"), False),
        (ORDINARY.replace("spring", "\u2028spring\u0085"), False),
        ("publish.host = 'h'\n[[camera]]\nname = 'a'\nsource = '0'", False),
        ("", False),
        ('[model]\nlabels = [\n  "a", # [model]\n]\nprofile = "old"\n', False),
        ('model = { profile = "old" } # mine\n', True),
        ('model.profile = "old"\n[publish]\n', True),
        ('[model]\nprofile = """\nold"""\n[publish]\n', True),
        ('[[camera]]\nlabels = ["""\n[model]\n"""]\n[model]\nprofile = "old"\n', True),
    ],
)
def test_adopting_changes_what_was_asked_for_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, cannot: bool
) -> None:
    monkeypatch.setattr(adopting, "Configuration", Unchecked)
    monkeypatch.setattr(adopting.eyes, "check", lambda *_: "good")
    file = tmp_path / "edge.toml"
    file.write_bytes(text.encode())
    before = load(file, "configuration")
    if cannot:
        with pytest.raises(InvalidInputError, match="a line a key"):
            adopting.adopt(file, run=Path("/doorway"))
        assert file.read_bytes() == text.encode()
        return
    adopting.adopt(file, run=Path("/doorway"))
    model = {key: value for key, value in before.get("model", {}).items() if key != "profile"}
    assert load(file, "configuration") == {**before, "model": {**model, "run": "/doorway"}}
    after = file.read_bytes()
    for line in text.removeprefix("\ufeff").encode().split(b"\n"):
        assert line in after or b"profile" in line


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_nobody_gets_to_read_more(run_forked: Any, configuration: Path, another: Path, mode: int) -> None:
    """Neither for a moment: no file that is made beside the configuration is ever open to more than that."""
    configuration.chmod(mode)
    configuration.with_name("edge.toml.before").touch(0o666)
    if os.geteuid() == 0:
        os.chown(configuration, 12345, 12346)
    seen: dict[str, int] = {}
    watching = threading.Event()

    def watch() -> None:
        while not watching.is_set():
            for file in configuration.parent.glob("*edge.toml*"):
                with contextlib.suppress(OSError), file.open("rb") as content:  # of one file, whatever replaces it
                    if b"[model]" in content.read():
                        seen[file.name] = seen.get(file.name, 0) | os.fstat(content.fileno()).st_mode & 0o777

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert run_forked("adopt", configuration, "--profile", another).returncode == 0
        configuration.chmod(0o400)
        assert run_forked("rollback", configuration).returncode == 0
    finally:
        watching.set()
        watcher.join()
    assert configuration.stat().st_mode & 0o777 == 0o400
    assert {"edge.toml", "edge.toml.before"} <= seen.keys()
    assert not {name: oct(found) for name, found in seen.items() if found & ~(mode | 0o600)}
    if os.geteuid() == 0:
        assert (configuration.stat().st_uid, configuration.stat().st_gid) == (12345, 12346)
