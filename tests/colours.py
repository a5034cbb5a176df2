"""Coloured pictures, classes that are taught from them, and clips of them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from daemons import Network
from forking import Zygote
from numpy.typing import NDArray

COLOURS = {"red": (40, 40, 200), "blue": (200, 60, 40), "green": (50, 180, 50)}


def picture(colour: str, number: int, width: int = 64) -> NDArray[np.uint8]:
    """A noisy picture (48, width, 3), BGR; another one for each number."""
    noise = np.random.default_rng(number).integers(-25, 26, (48, width, 3))
    return np.clip(noise + np.array(COLOURS[colour]), 0, 255).astype(np.uint8)


def teach(zygote: Zygote, network: Network, colours: tuple[str, ...], folder: Path) -> Path:
    """Teach the colours, each from a dozen pictures."""
    for colour in colours:
        (folder / "pictures" / colour).mkdir(parents=True)
        for number in range(12):
            cv2.imwrite(str(folder / "pictures" / colour / f"{number}.png"), picture(colour, number))
    made = folder / "colours.classes"
    model = ["--profile", str(network.profile), "--weights", str(network.weights)]
    told = zygote.run(["adainf", "teach", "--images", str(folder / "pictures"), *model, "--out", str(made)], folder)
    assert told.returncode == 0, told.stderr
    return made


def film(path: Path, frame: Callable[[int], NDArray[np.uint8]]) -> Path:
    """A clip of 40 frames, 10 a second."""
    first = frame(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, first.shape[1::-1])
    for number in range(40):
        writer.write(frame(number))
    writer.release()
    return path
