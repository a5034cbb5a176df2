import os
from pathlib import Path

import cv2
import numpy as np
import pytest

SIDE = 40


def _across(random: np.random.Generator) -> np.ndarray:
    return np.repeat(np.arange(SIDE) % 8 < random.integers(3, 6), SIDE).reshape(SIDE, SIDE)


def _down(random: np.random.Generator) -> np.ndarray:
    return _across(random).T


def _disc(random: np.random.Generator) -> np.ndarray:
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return (rows - SIDE // 2) ** 2 + (columns - SIDE // 2) ** 2 < random.integers(10, 15) ** 2


# Patterns, since a network with random weights tells them apart, in other light and without colour too.
PATTERNS = {"a <b>gate": _across, "empty": _down, "sky": _disc}


def paint(label: str, random: np.random.Generator) -> np.ndarray:
    """A picture of a label's pattern, with noise."""
    picture = np.where(PATTERNS[label](random)[..., None], 200, 60) + random.integers(-20, 21, (SIDE, SIDE, 3))
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def paintings(tmp_path_factory) -> Path:
    """8 pictures of each of three patterns, written a second after each other."""
    folder, random = tmp_path_factory.mktemp("paintings"), np.random.default_rng(0)
    for place, label in enumerate(PATTERNS):
        of_label = folder / label
        of_label.mkdir()
        for number in range(8):
            file = of_label / f"{number}.png"
            cv2.imwrite(str(file), paint(label, random))
            os.utime(file, (1_000_000 + 8 * place + number,) * 2)
    return folder


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """6 seconds at 10 frames a second: `empty`, then `sky`, by turns of 1 second."""
    file, random = tmp_path_factory.mktemp("film") / "film.mp4", np.random.default_rng(1)
    writer = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 10, (SIDE, SIDE))
    for number in range(60):
        writer.write(paint("sky" if number // 10 % 2 else "empty", random))
    writer.release()
    return file


@pytest.fixture
def network(profile) -> tuple[object, ...]:
    """Options that name a small network with random weights."""
    return ("--profile", profile, "--weights", "random", "--threads", 1)


@pytest.fixture(scope="session")
def lesson(made, profile, paintings, tmp_path_factory) -> Path:
    """A folder with gate.classes, and the report as report.json and report.html."""
    out = tmp_path_factory.mktemp("lesson")
    files = ("--out", out / "gate.classes", "--json", out / "report.json", "--html", out / "report.html")
    made("teach", "--images", paintings, "--profile", profile, "--weights", "random", "--threads", 1, *files)
    return out
