"""How commands end, whatever they raise."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.process.command import Group, run


def ended(monkeypatch: pytest.MonkeyPatch, raises: BaseException, *arguments: str) -> int:
    @click.command()
    @click.argument("more", nargs=-1)
    def command(more: tuple[str, ...]) -> None:
        raise raises

    monkeypatch.setattr(sys, "argv", ["adainf", *arguments])
    with pytest.raises(SystemExit) as end:
        run(command, "adainf")
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (InvalidInputError("size 3: is\n too small"), 78, "size 3: is too small"),
        (UnavailableError("camera 3: is not there"), 69, "camera 3: is not there"),
        (InvalidInputError("profile rtsp:/me:hun@ter2@h/x: no such file"), 78, "profile rtsp:/***@h/x: no such file"),
        (click.UsageError("no such option"), 78, "no such option"),
        (PermissionError(errno.EACCES, "Permission denied", "/closed/x"), 78, "/closed/x: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 3000), 78, "File name too long"),
        (OSError(errno.EACCES, "Permission denied", os.fsdecode(b"caf\xe9")), 78, "caf\\xe9: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), 69, "too many files are open (ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 69, "the disk is full"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), 69, "ulimit -u"),
        (RuntimeError("can't start new thread"), 69, "ulimit -u"),
        (MemoryError(), 69, "not enough memory"),
        (ImportError("libc.so: failed to map segment from shared object"), 69, "not enough memory"),
        (ImportError("libGL.so.1: cannot open shared object file"), 69, "apt-get install libgl1"),
        (ModuleNotFoundError("No module named 'x'", name="no_such.part"), 69, "-m pip install no_such"),
    ],
)
def test_one_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], raised: BaseException, status: int, said: str
) -> None:
    assert ended(monkeypatch, raised) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("adainf: ")
    assert said in err
    assert len(err) < 700


@pytest.mark.parametrize(
    "raised",
    [
        ValueError("seven"),
        OSError("nine"),
        KeyError("x"),
        ImportError("no nothing"),
        ModuleNotFoundError("No module named 'adainf.x'", name="adainf.x"),
        ModuleNotFoundError("No module named 'click.x'", name="click.x"),
        ModuleNotFoundError("No module named '_sqlite3'", name="_sqlite3"),
    ],
)
def test_a_defect_is_70_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], raised: BaseException
) -> None:
    assert ended(monkeypatch, raised) == 70
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("adainf: this is a defect")


def test_arguments_that_are_not_utf8(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(monkeypatch, AssertionError(), os.fsdecode(b"caf\xe9")) == 78
    assert capfd.readouterr().err == "adainf: argument caf\\xe9: is not UTF-8\n"


def test_groups_print_their_help(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    @click.group(cls=Group)
    def outer() -> None:
        """Of the outer one."""

    @outer.group(cls=Group)
    def inner() -> None:
        """Of the inner one."""

    for arguments, text in (([], "Of the outer one."), (["inner"], "Of the inner one.")):
        monkeypatch.setattr(sys, "argv", ["adainf", *arguments])
        with pytest.raises(SystemExit) as end:
            run(outer, "adainf")
        out, err = capfd.readouterr()
        assert (end.value.code, err, text in out) == (0, "", True)


PRINTS = """
import click
from adainf.process.command import run
run(click.Command("c", callback=lambda: print("x" * {})), "adainf")
"""


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_has_seen_enough(size: int) -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", PRINTS.format(size)], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")


def test_output_to_a_full_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", PRINTS.format(10)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (result.returncode, result.stderr.count("\n")) == (69, 1)
    assert "output: cannot be written (No space left on device)" in result.stderr
