"""Batches of views: what is seen of which picture is a function of seed and step, so nothing of it need be stored."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
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

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        inputs = {side: views.to(device) for side, views in self.inputs.items()}
        return Batch(self.step, inputs, None if self.labels is None else self.labels.to(device))


@dataclass(frozen=True)
class Views:
    """The views of every step.

    shares: how likely each source is. batch: views a step, of all ranks together. resolutions: those a step needs.
    least_area: a view is a random square of at least this share of the picture's largest one.
    """

    sources: Sequence[Source]
    shares: Sequence[float]
    preprocessing: Preprocessing
    batch: int
    seed: int
    ranks: Ranks
    resolutions: Callable[[int], Sequence[int]]
    least_area: float = 0.25

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Batches from `step` on, for ever. Two threads decode the next ones meanwhile, at most two steps ahead."""
        with ThreadPoolExecutor(_DECODERS, "decode") as pool:
            ahead: deque[list[Future[_View]]] = deque()
            try:
                while True:
                    while len(ahead) <= _STEPS_AHEAD:
                        ahead.append(self._begun(pool, step + len(ahead)))
                    yield _joined(step, [view.result() for view in ahead.popleft()])
                    step += 1
            finally:
                pool.shutdown(cancel_futures=True)

    def _begun(self, pool: ThreadPoolExecutor, step: int) -> "list[Future[_View]]":
        sides = set(self.resolutions(step))
        return [pool.submit(self._view, step, position, sides) for position in self.ranks.own(self.batch)]

    def _view(self, step: int, position: int, sides: Iterable[int]) -> "_View":
        draw = np.random.default_rng((self.seed, step, position))
        source = self.sources[draw.choice(len(self.sources), p=np.asarray(self.shares) / sum(self.shares))]
        row, whole_picture = source.read_from(int(draw.integers(source.count)))
        picture = view(whole_picture, draw, self.least_area)
        # Of a view the full model sees all, and a smaller input as much less as of a camera's picture.
        whole = replace(self.preprocessing, crop_fraction=1.0)
        return _View(
            {side: prepare(picture, side, whole) for side in sides},
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


def view(picture: NDArray[np.uint8], draw: np.random.Generator, least_area: float) -> NDArray[np.uint8]:
    """A random square of `picture` (height, width, 3), BGR, perhaps mirrored, in somewhat other light and colours.

    least_area: of the square, a share of the largest one's.
    """
    height, width = picture.shape[:2]
    side = max(1, round(min(height, width) * draw.uniform(least_area, 1) ** 0.5))
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
