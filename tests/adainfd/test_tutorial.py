"""The lesson that ends with states of a clip, followed to the letter."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import free_port

REPOSITORY = Path(__file__).parents[2]
LESSON = REPOSITORY / "docs" / "tutorial" / "4-your-question.md"
CLIP = REPOSITORY.parent / "shared" / "data" / "videos" / "car-detection.mp4"


def block(kind: str) -> str:
    (found,) = re.findall(rf"```{kind}\n(.*?)```", LESSON.read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(found)


def commands() -> Iterator[list[str]]:
    lesson = LESSON.read_text(encoding="utf-8").replace("\\\n", "")
    for line in re.findall(r"^    (adainfd? .*)$", lesson, flags=re.MULTILINE):
        program, *arguments = line.split()
        module = "adainf.cli" if program == "adainf" else "adainfd.cli"
        yield [
            sys.executable,
            "-c",
            f"import sys; from {module} import main; sys.argv[0] = {program!r}; main()",
            *arguments,
        ]


@pytest.mark.skipif(not CLIP.is_file(), reason="needs the clip of the lesson")
def test_it_ends_with_the_states_of_the_road(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / CLIP.name).symlink_to(CLIP)
    address = f"tcp://127.0.0.1:{free_port()}"
    (tmp_path / "road.csv").write_text(block("text"), encoding="utf-8")
    (tmp_path / "road.toml").write_text(block("toml").replace("tcp://127.0.0.1:5600", address), encoding="utf-8")
    (tmp_path / "states.py").write_text(block("python").replace("tcp://127.0.0.1:5600", address), encoding="utf-8")
    teach, check, run = commands()
    for command in (teach, check):
        subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    reader = subprocess.Popen([sys.executable, "states.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    daemon = subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        told = iter(reader.stdout.readline, "")  # type: ignore[union-attr]
        states = [next(told).split()[1] for _ in range(6)]
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)
        reader.kill()
        reader.communicate()
    known = [state for state in states if state != "None"]
    assert known[:4] == ["empty", "car", "empty", "car"], states
    assert daemon.returncode == 0
