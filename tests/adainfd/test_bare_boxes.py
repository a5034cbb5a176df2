"""Boxes that lack a home, a user's name, or enough of what the system hands out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from daemons import START_SECONDS, Network, assert_refused
from forking import forked
from users import NOBODY, as_nobody

LIMITED = ["sh", "-c", 'ulimit "$1" "$2"; shift 2; exec "$@"', "sh"]


def bare(environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Of an environment what a program needs to be found, and `folder` for temporary files."""
    folder.chmod(0o777)
    needed = {name: environment[name] for name in ("PATH", "PYTHONPATH") if name in environment}
    return {**needed, "TMPDIR": str(folder)}


def test_a_daemon_without_home_and_with_few_files(
    environment: dict[str, str], network: Network, clip: Path, tmp_path: Path
) -> None:
    """The soft limit is too low, and is raised; what was exported before is where the cache is named."""
    bind = f"ipc://{tmp_path}/s"
    file = network.configuration(tmp_path / "c.toml", bind=bind, cameras=[{"name": "door", "source": str(clip)}])
    result = subprocess.run(
        [*as_nobody(), *LIMITED, "-Sn", "80", sys.executable, "-m", "adainfd", "run", "--config", str(file)],
        cwd=tmp_path,
        env={**bare(environment, tmp_path), "XDG_CACHE_HOME": environment["XDG_CACHE_HOME"]},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    logged = {line["event"]: line for line in map(json.loads, result.stderr.splitlines())}
    home = tmp_path / f"adainf-{NOBODY}"
    assert str(home) in logged["no_home"]["detail"]
    assert logged["frames"]["captured"] == 50
    assert home.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "~").exists()


def test_other_commands_without_home(environment: dict[str, str], network: Network, tmp_path: Path) -> None:
    file = network.configuration(tmp_path / "c.toml", bind=f"ipc://{tmp_path}/s")
    commands = [
        ["adainfd", "check-config", str(file)],
        ["adainfd", "doctor"],
        ["adainfd", "keys", "new", f"{tmp_path}/box"],
        ["adainfd", "keys", "show", f"{tmp_path}/box.key"],
        ["adainf", "fetch", "--check"],
        ["adainfd"],
        ["adainf"],
        ["adainfd", "keys"],
    ]
    ended = forked(commands, tmp_path, bare(environment, tmp_path), before=as_nobody())
    assert [status for status, _ in ended] == [0] * len(commands), ended
    checked, examined, *_, fetched, daemon, library, keys = [said for _, said in ended]
    assert checked.count("\n") == 1
    assert str(tmp_path / f"adainf-{NOBODY}") in examined
    assert "has no home folder" in examined
    assert "has no home folder" in fetched
    assert all(said.startswith("Usage: ") and "home folder" not in said for said in (daemon, library, keys))


@pytest.mark.parametrize(
    ("limit", "count", "cameras", "status", "named"),
    [
        ("-n", "80", 2, 78, ["2 cameras with cifar/resnet20", "80", "ulimit -n", "LimitNOFILE"]),
        ("-n", "400", 70, 78, ["70 cameras with cifar/resnet20", "400"]),
        ("-n", "10", 1, 78, ["10", "ulimit -n"]),
        ("-n", "31", 1, 78, ["31", "ulimit -n"]),
        ("-v", "250000", 1, 69, ["ulimit -"]),
    ],
)
def test_limits(
    run: Any, environment: dict[str, str], network: Network, tmp_path: Path, limit: str, count: str, cameras: int,
    status: int, named: list[str],
) -> None:  # fmt: skip
    sections = [{"name": f"c{number}", "source": "0"} for number in range(cameras)]
    file = network.configuration(tmp_path / "c.toml", bind=f"ipc://{tmp_path}/s", cameras=sections)
    result = subprocess.run(
        [*LIMITED, limit, count, sys.executable, "-m", "adainfd", "run", "--config", str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert_refused(result, status, *named)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who runs nothing else")
def test_a_limit_of_processes(environment: dict[str, str], tmp_path: Path) -> None:
    user = [f"--reuid={NOBODY + 1}", f"--regid={NOBODY + 1}", "--clear-groups"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    program = [sys.executable, "-m", "adainfd", "run", "--source", "x.mp4"]
    result = subprocess.run(
        ["setpriv", *user, *may_read, "prlimit", "--nproc=4", *program],
        cwd=tmp_path,
        env=bare(environment, tmp_path),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if "setpriv" in result.stderr:
        pytest.skip(f"needs the right to set capabilities: {result.stderr}")
    assert_refused(result, 69, "threads", "ulimit -u")
