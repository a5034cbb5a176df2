"""Wheels of what is in this repository, built as pip builds them."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["built"]


def built(project: Path, folder: Path) -> Path:
    """The wheel of the project, made in an empty folder; the test is skipped where there is nothing to build it by."""
    options = ["--no-deps", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(folder)]
    if find_spec("hatchling"):
        options.append("--no-build-isolation")
    command = [sys.executable, "-m", "pip", "wheel", *options, str(project)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if "No matching distribution found for hatchling" in told.stderr:
        pytest.skip("needs hatchling: pip install hatchling, or a package index to fetch it from")
    assert told.returncode == 0, told.stderr
    (wheel,) = folder.glob("adainf-*.whl")
    return wheel
