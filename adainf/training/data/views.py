"""Batches of views.

Views depend on seed and step alone, so a checkpoint stores none of their state.
"""

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
"""The largest relative change of brightness, contrast and saturation."""

GREY = np.array([0.114, 0.587, 0.299])
"""Weights of blue, green and red in grey."""

_STEPS_AHEAD = 4
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's views.

    inputs: (views, 3, resolution, resolution) by resolution. labels: (views,), or None.
    """

    step: int
    inputs: dict[int, Tensor]
    labels: Tensor | None


class ViewFeed(Protocol):
    """A source of batches of views."""

    @property
    def batch(self) -> int:
        """Views per step, over all ranks."""

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield this rank's views on the device, one batch per step, from `step` on, without end."""


@dataclass(frozen=True)
class Sampling:
    """How views are drawn from the sources.

    shares: sampling weight of each source. preprocessing: the network's. batch: views per step, over all ranks.
    resolutions: returns the resolutions that a step needs. least_area: a view is a random square of at least this
    share of the area of the picture's largest square.
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
        """The probability of each source; they sum to 1."""
        return np.asarray(self.shares, np.float64) / sum(self.shares)


@dataclass(frozen=True)
class Views:
    """A `ViewFeed` that decodes each picture on demand.

    threads: decoder threads.
    """

    sources: Sequence[TrainingSource]
    sampling: Sampling
    device: torch.device = _CPU
    threads: int = 2

    @property
    def batch(self) -> int:
        return self.sampling.batch

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield batches from `step` on, without end; the threads decode up to four steps ahead."""
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
        # Asynchronous copies to a GPU need pinned memory; PyTorch's allocator caches it for later steps.
        pixels = {
            side: torch.empty((len(positions), side, side, 3), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
            for side in set(self.sampling.resolutions(step))
        }
        labels = [
            pool.submit(self._draw, step, position, {side: batch[row].numpy() for side, batch in pixels.items()})
            for row, position in enumerate(positions)
        ]
        return _Begun(pixels, labels)

    def _draw(self, step: int, position: int, into: dict[int, NDArray[np.uint8]]) -> int | None:
        """Draw the view at `position`, write it to the arrays (side, side, 3), RGB, of `into`, and return its label."""
        draw = np.random.default_rng((self.sampling.seed, step, position))
        source = self.sources[draw.choice(len(self.sources), p=self.sampling.probabilities)]
        row, whole_picture = source.read_from(int(draw.integers(source.count)))
        picture = view(whole_picture, draw, self.sampling.least_area)
        # A native input shows the whole view; a smaller one shows as much less of it as of a camera's frame.
        uncropped = replace(self.sampling.preprocessing, crop_fraction=1.0)
        for side, pixels in into.items():
            cv2.cvtColor(looked_at(picture, side, uncropped), cv2.COLOR_BGR2RGB, dst=pixels)
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
    """A step whose pictures are being decoded.

    pixels: (views, side, side, 3) by side.
    """

    pixels: dict[int, Tensor]
    labels: list[Future[int | None]]


def normalised(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return the network's input, as `prepare` makes it, from RGB pixels (views, 3, side, side), 0 to 255."""
    mean, deviation = (
        uploaded(torch.tensor(values, dtype=torch.float32), pixels.device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return ((pixels.float() / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)


def view(picture: NDArray[np.uint8], draw: np.random.Generator, least_area: float) -> NDArray[np.uint8]:
    """Return a random square of `picture` (height, width, 3), BGR, randomly mirrored and colour-jittered.

    least_area: the square's least area, a share of the largest square's.
    """
    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * draw.uniform(least_area, 1) ** 0.5))
    top, left = draw.integers(height - side + 1), draw.integers(width - side + 1)
    mirrored = draw.random() < 1 / 2
    return seen(picture[top : top + side, left : left + side], mirrored, *draw.uniform(1 - JITTER, 1 + JITTER, 3))


def seen(
    square: NDArray[np.uint8], mirrored: bool, brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Return a square (side, side, 3), BGR, with colours changed by factors; 1 leaves the picture's unchanged."""
    if mirrored:
        square = square[:, ::-1]
    # All three are linear in the colours, so one matrix does: saturation mixes with grey, contrast with the mean.
    colours = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
    mean = float(square.mean())
    matrix = np.column_stack([brightness * contrast * colours, np.full(3, brightness * (1 - contrast) * mean)])
    return cv2.transform(np.ascontiguousarray(square), matrix).astype(np.uint8, copy=False)
