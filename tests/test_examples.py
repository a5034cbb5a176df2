"""The examples in Python that need no running daemon do as they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from footage import footage

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With a cache of exports that all programs here share: to export the default model takes seconds."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def test_every_frame_of_a_video_is_answered(tmp_path: Path, demo_weights: Path, environment: dict[str, str]) -> None:
    assert demo_weights.is_file()  # the default model's
    command = [sys.executable, str(EXAMPLES / "adaptive.py"), str(footage(tmp_path / "clip.mp4", frames=12))]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert len(lines) == 12
    spent = re.compile(r".+ [01]\.\d\d, (reused|\d+% of the MACs), budget [01]\.\d\d by [a-z]+, \d+\.\d ms")
    assert all(spent.fullmatch(line) for line in lines)
    assert "reused" not in lines[0]


def test_the_lines_of_the_readme_answer_every_frame(
    tmp_path: Path, demo_weights: Path, environment: dict[str, str]
) -> None:
    assert demo_weights.is_file()
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import adainf.*?)```", readme, re.DOTALL)
    assert len(code.splitlines()) <= 10
    footage(tmp_path / "clip.mp4", frames=5)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.splitlines()) == 5


def test_a_video_that_is_not_there_is_named() -> None:
    command = [sys.executable, str(EXAMPLES / "adaptive.py"), "nowhere.mp4"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "nowhere.mp4: no video that OpenCV can open"
