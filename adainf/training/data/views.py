"""Batches of views: what is seen of which picture is a function of seed and step, so nothing of it need be stored."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.preprocessing import Preprocessing, looked_at
from adainf.training.data.sources import TrainingSource
from adainf.training.devices import uploaded
from adainf.training.ranks import Ranks

__all__ = ["GREY", "JITTER", "Batch", "Sampling", "ViewFeed", "Views", "normalised", "seen", "view"]

JITTER = 0.2
"""How much brightness, contrast and saturation may differ from the picture's, a share of it."""

GREY = np.array([0.114, 0.587, 0.299])
"""What blue, green and red are of grey."""

_STEPS_AHEAD = 4
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's views. inputs: (views, 3, resolution, resolution) by resolution. labels: (views), or None."""

    step: int
    inputs: dict[int, Tensor]
    labels: Tensor | None


class ViewFeed(Protocol):
    """Where the views come from."""

    @property
    def batch(self) -> int:
        """Views a step, of all ranks together."""

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """This rank's views, a step at a time from `step` on, for ever, on the device."""


@dataclass(frozen=True)
class Sampling:
    """Which views of its pictures a training takes.

    shares: how likely each source is. preprocessing: the network's. batch: views a step, of all ranks together.
    resolutions: those that a step needs. least_area: a view is a random square of at least this share of the picture's
    largest one.
    """

    shares: Sequence[float]
    preprocessing: Preprocessing
    batch: int
    seed: int
    ranks: Ranks
    resolutions: Callable[[int], Sequence[int]]
    least_area: float = 0.25

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each source; they sum to 1."""
        return np.asarray(self.shares, np.float64) / sum(self.shares)


@dataclass(frozen=True)
class Views:
    """The views of every step, each decoded when its turn comes. threads: how many decode."""

    sources: Sequence[TrainingSource]
    sampling: Sampling
    device: torch.device = _CPU
    threads: int = 2

    @property
    def batch(self) -> int:
        return self.sampling.batch

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Batches from `step` on, for ever. The threads decode the next ones meanwhile, a few steps ahead."""
        with ThreadPoolExecutor(self.threads, "decode") as pool:
            ahead: deque[_Begun] = deque()
            try:
                while True:
                    while len(ahead) <= _STEPS_AHEAD:
                        ahead.append(self._begun(pool, step + len(ahead)))
                    yield self._finished(step, ahead.popleft())
                    step += 1
            finally:
                pool.shutdown(cancel_futures=True)

    def _begun(self, pool: ThreadPoolExecutor, step: int) -> "_Begun":
        positions = self.sampling.ranks.own(self.batch)
        # What a GPU copies by itself must lie in pinned memory, which is kept for the next steps when it is free.
        pixels = {
            side: torch.empty((len(positions), side, side, 3), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
            for side in set(self.sampling.resolutions(step))
        }
        labels = [
            pool.submit(self._draw, step, position, {side: whole[row].numpy() for side, whole in pixels.items()})
            for row, position in enumerate(positions)
        ]
        return _Begun(pixels, labels)

    def _draw(self, step: int, position: int, into: dict[int, NDArray[np.uint8]]) -> int | None:
        """Puts the view into arrays (side, side, 3), RGB; its label."""
        draw = np.random.default_rng((self.sampling.seed, step, position))
        source = self.sources[draw.choice(len(self.sources), p=self.sampling.probabilities)]
        row, whole_picture = source.read_from(int(draw.integers(source.count)))
        picture = view(whole_picture, draw, self.sampling.least_area)
        # Of a view the full model sees all, and a smaller input as much less as of a camera's picture.
        whole = replace(self.sampling.preprocessing, crop_fraction=1.0)
        for side, pixels in into.items():
            cv2.cvtColor(looked_at(picture, side, whole), cv2.COLOR_BGR2RGB, dst=pixels)
        return None if source.labels is None else source.labels[row]

    def _finished(self, step: int, begun: "_Begun") -> Batch:
        labels = [label for future in begun.labels if (label := future.result()) is not None]
        inputs = {
            side: normalised(uploaded(pixels, self.device).permute(0, 3, 1, 2), self.sampling.preprocessing)
            for side, pixels in begun.pixels.items()
        }
        labelled = len(labels) == len(begun.labels)
        return Batch(step, inputs, uploaded(torch.tensor(labels), self.device) if labelled else None)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A step that is being decoded. pixels: (views, side, side, 3) by side."""

    pixels: dict[int, Tensor]
    labels: list[Future[int | None]]


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """The network's input, as `prepare` makes it, of RGB pixels (views, 3, side, side), 0 to 255."""
    mean, deviation = (
        uploaded(torch.tensor(values, dtype=torch.float32), pixels.device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return ((pixels.float() / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)


def view(picture: NDArray[np.uint8], draw: np.random.Generator, least_area: float) -> NDArray[np.uint8]:
    """A random square of `picture` (height, width, 3), BGR, perhaps mirrored, in somewhat other light and colours.

    least_area: of the square, a share of the largest one's.
    """
    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * draw.uniform(least_area, 1) ** 0.5))
    top, left = draw.integers(height - side + 1), draw.integers(width - side + 1)
    mirrored = draw.random() < 1 / 2
    return seen(picture[top : top + side, left : left + side], mirrored, *draw.uniform(1 - JITTER, 1 + JITTER, 3))


def seen(
    square: NDArray[np.uint8], mirrored: bool, brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """A square (side, side, 3), BGR, in other light and colours: 1 is that of the picture."""
    if mirrored:
        square = square[:, ::-1]
    # All three are linear in the colours: saturation mixes with grey, contrast with the mean.
    colours = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
    mean = float(square.mean())
    matrix = np.column_stack([brightness * contrast * colours, np.full(3, brightness * (1 - contrast) * mean)])
    return cv2.transform(np.ascontiguousarray(square), matrix).astype(np.uint8, copy=False)
