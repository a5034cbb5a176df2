"""Installed by `make install` into a real systemd, booted for it: `scenario.py` runs in there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import daemons
import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PYTHON = Path("/usr/bin/python3")
SECONDS = 600


def test_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packages = Path(pytest.__file__).parents[1]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not PYTHON.is_file() or not PYTHON.resolve().name.endswith(version):
        pytest.skip(f"needs {PYTHON} to be Python {version}, as the packages of this environment are")
    if shutil.which("make") is None:
        pytest.skip("needs make")
    # Installed again, torch would take minutes and gigabytes: the service sees the packages of this environment.
    binds = [("/opt/packages", packages)]
    material = tmp_path / "material"
    (material / "doorway").mkdir(parents=True)
    daemons.small_network(material)
    daemons.write_video(material / "clip.mp4", 50, moves=lambda number: number >= 25)
    for number in range(16):
        cv2.imwrite(str(material / "doorway" / f"{number}.png"), daemons.scene(number, moves=True))
    binds.append(("/srv/material", material))
    if REPOSITORY.stat().st_dev != Path("/").stat().st_dev:
        binds.append((str(REPOSITORY), REPOSITORY))
    arguments = [argument for path, folder in binds for argument in ("--bind", f"{folder}:{path}")]
    pytest_command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-v",
        "-p",
        "no:cacheprovider",
        "--durations=12",
        str(HERE / "scenario.py"),
    ]
    result = subprocess.run(
        [str(HERE / "boot.sh"), *arguments, "--", *pytest_command],
        cwd=REPOSITORY,
        env={**os.environ, "ADAINF_BOOTED": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if result.returncode == 69:
        pytest.skip(f"cannot boot a systemd here: {result.stderr.strip().splitlines()[-1]}")
    print(result.stdout)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
