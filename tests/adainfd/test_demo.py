from pathlib import Path
from typing import Any

import pytest
from daemons import assert_refused

from adainf.shipped import calibration_folder


def test_demo_on_no_terminal(run: Any, demo_weights: Path, clip: Path) -> None:
    if not (calibration_folder() / "profiles" / "efficientnet-lite0.json").is_file():
        pytest.skip("no profile is shipped")
    result = run("demo", clip, "--seconds", "6", seconds=240)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    load = [line for line in lines if "background load" in line]
    assert load == ["--- background load starts ---", "--- background load ends ---"]
    assert len([line for line in lines if "budget" in line and "MMACs" in line]) >= 5
    for row in ("frames captured / published / dropped", "latency p50 / p95", "budget limited by", "branches used"):
        assert row in result.stdout


def test_missing_video(run: Any) -> None:
    result = run("demo", "no-such.mp4")
    result.stdout = ""
    assert_refused(result, 78, "no-such.mp4: no such file")
