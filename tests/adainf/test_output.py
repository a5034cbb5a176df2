"""Standard output whose reader leaves, or that goes to a full disk, ends a command as the README says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "adainfd --help",
    "adainfd run --help",
    "adainfd check-config {config}",
    "adainfd keys show {keys}",
    "adainfd doctor {config}",
    "adainf --help",
    "adainf train --help",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from adainfd.wire.keys import KeyPair

    folder = tmp_path_factory.mktemp("files")
    (folder / "c.toml").write_text("")
    KeyPair.new(folder / "mine")
    return {"config": folder / "c.toml", "keys": folder / "mine.key"}


def start(command: str, files: dict[str, Path], out: int | None, err: int = subprocess.PIPE) -> subprocess.Popen[str]:
    program, *arguments = command.format(**files).split()
    package = {"adainf": "adainf.cli", "adainfd": "adainfd.cli"}[program]
    code = f"import sys, {package}; sys.argv[0] = {program!r}; {package}.main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=out, stderr=err, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_leaves_and_a_full_disk(command: str, files: dict[str, Path]) -> None:
    reads, left = os.pipe()
    os.close(reads)
    full = os.open("/dev/full", os.O_WRONLY)
    # One after the other: what the first has found out of the weights is there for the others.
    for out, status, said in (
        (left, 0, ""),
        (full, 69, f"{command.split()[0]}: output: cannot be written (No space left on device)\n"),
    ):
        program = start(command, files, out)
        assert program.communicate(timeout=60)[1] == said
        assert program.returncode == status
    assert start(command, files, full, err=full).wait(60) == 69
    os.close(left)
    os.close(full)


def test_a_refusal_that_cannot_be_said_has_its_status(files: dict[str, Path]) -> None:
    with Path("/dev/full").open("wb") as full:
        assert start("adainfd check-config none.toml", files, None, full.fileno()).wait(60) == 78
