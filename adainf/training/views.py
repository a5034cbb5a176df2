"""Batches of views: what is seen of which picture is a function of seed and step, so nothing of it need be stored."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.preprocessing import Preprocessing, prepare
from adainf.training.ranks import Ranks
from adainf.training.sources import Source

__all__ = ["Batch", "Views", "view"]

# Smaller crops than a quarter of the picture's central square show another scene than a camera does.
_LEAST_AREA = 0.25
_JITTER = 0.2
_GREY = np.array([0.114, 0.587, 0.299])  # of BGR
_STEPS_AHEAD = 2
_DECODERS = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's views. inputs: (views, 3, resolution, resolution) by resolution. labels: (views), or None."""

    step: int
    inputs: dict[int, Tensor]
    labels: Tensor | None


@dataclass(frozen=True)
class Views:
    """The views of every step.

    shares: how likely each source is. batch: views a step, of all ranks together. resolutions: those a step needs.
    augmented: a random part of the picture, perhaps mirrored, its light and colours changed; else its centre.
    """

    sources: Sequence[Source]
    shares: Sequence[float]
    preprocessing: Preprocessing
    batch: int
    seed: int
    ranks: Ranks
    resolutions: Callable[[int], Sequence[int]]
    augmented: bool = True

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Batches from `step` on, for ever. Two threads decode the next ones meanwhile, at most two steps ahead."""
        with ThreadPoolExecutor(_DECODERS, "decode") as pool:
            ahead: deque[tuple[int, list[Future[_View]]]] = deque()
            try:
                while True:
                    while len(ahead) <= _STEPS_AHEAD:
                        number = step + len(ahead)
                        positions = self.ranks.own(self.batch)
                        ahead.append((number, [pool.submit(self._view, number, position) for position in positions]))
                    _, views = ahead.popleft()
                    yield _joined(step, [view.result() for view in views])
                    step += 1
            finally:
                pool.shutdown(cancel_futures=True)

    def _view(self, step: int, position: int) -> "_View":
        draw = np.random.default_rng((self.seed, step, position))
        source = self.sources[draw.choice(len(self.sources), p=np.asarray(self.shares) / sum(self.shares))]
        row = int(draw.integers(source.count))
        picture = source.read(row)
        preprocessing = self.preprocessing
        if self.augmented:
            picture = view(picture, draw)
            preprocessing = replace(preprocessing, crop_fraction=1.0)
        return _View(
            {side: prepare(picture, side, preprocessing) for side in set(self.resolutions(step))},
            None if source.labels is None else source.labels[row],
        )


@dataclass(frozen=True, slots=True)
class _View:
    inputs: dict[int, NDArray[np.float32]]
    label: int | None


def _joined(step: int, views: Sequence[_View]) -> Batch:
    labels = [view.label for view in views if view.label is not None]
    inputs = {
        side: torch.from_numpy(np.stack([view.inputs[side] for view in views])).contiguous(
            memory_format=torch.channels_last
        )
        for side in views[0].inputs
    }
    return Batch(step, inputs, torch.tensor(labels) if len(labels) == len(views) else None)


def view(picture: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of `picture` (height, width, 3), BGR, perhaps mirrored, in somewhat other light and colours."""
    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * draw.uniform(_LEAST_AREA, 1) ** 0.5))
    top, left = draw.integers(height - side + 1), draw.integers(width - side + 1)
    square = picture[top : top + side, left : left + side]
    if draw.random() < 1 / 2:
        square = square[:, ::-1]
    brightness, contrast, saturation = draw.uniform(1 - _JITTER, 1 + _JITTER, 3)
    # All three are linear in the colours: saturation mixes with grey, contrast with the mean.
    colours = saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1))
    mean = float(square.mean())
    matrix = np.column_stack([brightness * contrast * colours, np.full(3, brightness * (1 - contrast) * mean)])
    return cv2.transform(np.ascontiguousarray(square), matrix).astype(np.uint8, copy=False)
