import re
from pathlib import Path
from typing import Any

import adainfd
from daemons import assert_refused

import adainf
from adainf.shipped import calibration_folder


def program_with(profile: Path, folder: Path) -> Path:
    """This program in `folder`, with another profile shipped: the demonstration takes what is shipped."""
    for package in (adainf, adainfd):
        (folder / package.__name__).symlink_to(Path(str(package.__file__)).parent)
    (folder / "calibration" / "profiles").mkdir(parents=True)
    (folder / "calibration" / "policies").symlink_to(calibration_folder() / "policies")
    (folder / "calibration" / "profiles" / profile.name).symlink_to(profile)
    return folder


def test_demo_on_no_terminal(run: Any, short_family: Path, clip: Path, tmp_path: Path) -> None:
    program = program_with(short_family, tmp_path)
    result = run("demo", clip, "--seconds", "6", PYTHONPATH=str(program), COLUMNS="160")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    load = [line for line in lines if "background load" in line]
    assert load == ["--- background load starts ---", "--- background load ends ---"]
    assert len([line for line in lines if "budget" in line and "MMACs" in line]) >= 5
    for row in (
        "frames captured / recognised / answer reused / dropped",
        "latency p50 / p95",
        "budget limited by",
        "branches used",
    ):
        assert row in result.stdout
    (recognised,) = [line for line in lines if "recognised by" in line]
    assert re.search(r"│ (tf_efficientnet_lite[02] \d+,? *)+│$", recognised), recognised
    assert "tf_efficientnet_lite0 " in recognised  # while there was load
    assert any("tf_efficientnet_lite0/112:" in line for line in lines if "MMACs" in line)


def test_missing_video(run: Any) -> None:
    result = run("demo", "no-such.mp4")
    result.stdout = ""  # holds the command that it runs
    assert_refused(result, 78, "no-such.mp4: no such file")
