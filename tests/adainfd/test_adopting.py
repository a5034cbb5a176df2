"""Another profile in a configuration file, and the way back."""

from pathlib import Path
from typing import Any

import pytest
from daemons import Network, assert_refused

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
        (("--run", "nonesuch"), "nonesuch"),
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
