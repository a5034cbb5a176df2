from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def network() -> tuple[str, ...]:
    """A small network with random weights, and batches that it learns from in no time."""
    named = ("--backbone", "cifar/resnet20", "--weights", "random", "--threads", "1")
    return (*named, "--resolutions", "16,24", "--ceiling", "0.5", "--batch", "4")


@pytest.fixture(scope="session")
def clip() -> Callable[[Path, int], Path]:
    """Writes a video of noise with so many frames."""

    def write(path: Path, frames: int) -> Path:
        generator = np.random.default_rng(0)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
        for _ in range(frames):
            writer.write(generator.integers(0, 256, (48, 64, 3), np.uint8))
        writer.release()
        return path

    return write
