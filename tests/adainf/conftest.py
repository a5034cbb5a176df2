import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from adainf import cli

# The date in a profile is fixed, so that two of them can be compared. An allocator that is set up needs no restart.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1790000000", "MALLOC_TOP_PAD_": str(1 << 26)}


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Starts the program in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from adainf.cli import main; main()", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **ENVIRONMENT})

    return start


@pytest.fixture
def adainf(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs the program here, since importing torch anew takes seconds; gives status, stdout and stderr."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["adainf", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def made() -> Callable[..., str]:
    """`done`, for what several tests share."""

    def run(*arguments: object) -> str:
        printed, said = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(said),
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["adainf", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        assert not ended.value.code, said.getvalue()
        return printed.getvalue()

    return run


@pytest.fixture
def done(adainf) -> Callable[..., str]:
    """Runs a command that must succeed; gives what it prints."""

    def run(*arguments: object) -> str:
        status, printed, said = adainf(*arguments)
        assert status == 0, said
        return printed

    return run


@pytest.fixture
def refused(adainf) -> Callable[..., str]:
    """Runs a command that must be refused; gives the one line it says."""

    def run(*arguments: object) -> str:
        status, printed, said = adainf(*arguments)
        assert (status, printed, said.count("\n")) == (78, "", 1), said
        return said

    return run


@pytest.fixture(scope="session")
def settings() -> tuple[str, ...]:
    """A small network with random weights. One thread, since other tests and processes share the processors."""
    network = ("--backbone", "cifar/resnet20", "--weights", "random", "--threads", "1")
    return (*network, "--resolutions", "16,32", "--branches", "24")


def _draw(folder: Path, classes: list[str], each: int) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture = generator.integers(0, 256, (40, 40, 3), np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    """Fills a folder with folders of pictures of noise."""
    return _draw


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """40 pictures of noise in folders named by the index of one of CIFAR-100's classes."""
    return _draw(tmp_path_factory.mktemp("pictures"), ["3", "14", "15", "92"], each=10)


@pytest.fixture(scope="session")
def profile(made, settings, pictures, tmp_path_factory) -> Path:
    """The profile of a small network, made in one go."""
    out = tmp_path_factory.mktemp("profile") / "small.json"
    made("calibrate", *settings, "--images", pictures, "--out", out)
    return out


@pytest.fixture(scope="session")
def trained(made, pictures, tmp_path_factory):
    """A run, trained so far that it answers otherwise than the base weights."""
    out = tmp_path_factory.mktemp("runs") / "run"
    network = ("--backbone", "cifar/resnet20", "--weights", "random", "--threads", "1", "--resolutions", "16")
    steps = ("--batch", "8", "--steps", "20", "--learning-rate", "0.01")
    made("train", *network, *steps, "--images", pictures, "--out", out)
    return out


@pytest.fixture(scope="session")
def imagenet(shared_data) -> Path:
    return shared_data / "imagenet_500"
