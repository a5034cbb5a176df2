"""Views of small pictures: the pictures stay on the device as bytes, and a step's views are made there in one batch."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.training.data.sources import TrainingSource
from adainf.training.data.views import GREY, JITTER, Batch, Sampling, normalised
from adainf.training.devices import uploaded

__all__ = ["Kept", "Looks", "SmallViews", "keep", "may_be_shown"]

_LARGEST_SIDE = 64
_MOST_BYTES = 1 << 30
# A view may be at most this many times larger than an input: plain cubic interpolation then still reads every pixel.
_LARGEST_SHRINK = 3
_CUBIC = -0.75  # OpenCV's coefficient
# Seed component that keeps the views independent of a recipe's random draws.
_STREAM = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """All pictures of the sources.

    pixels: (pictures, 3, height, width), RGB, uint8. labels: (pictures,), or None. counts: number of pictures per
    source.
    """

    pixels: Tensor
    labels: Tensor | None
    counts: tuple[int, ...]


def keep(sources: Sequence[TrainingSource], device: torch.device, threads: int) -> Kept | None:
    """Return the sources' pictures on the device; None if they exceed 64 px, 1 GiB in total, or differ in size.

    threads: decoder threads. A picture that cannot be decoded is replaced by the next one that can.
    """
    counts = tuple(source.count for source in sources)
    shape = sources[0].read_from(0)[1].shape
    if max(shape) > _LARGEST_SIDE or sum(counts) * int(np.prod(shape)) > _MOST_BYTES:
        return None
    pixels = np.empty((sum(counts), *shape), np.uint8)
    labels: list[int] = []
    number = 0
    with ThreadPoolExecutor(threads, "decode") as pool:
        for source in sources:
            for row, picture in pool.map(source.read_from, range(source.count)):
                if picture.shape != shape:
                    pool.shutdown(cancel_futures=True)
                    return None
                pixels[number] = picture
                number += 1
                if source.labels is not None:
                    labels.append(source.labels[row])
    in_order = torch.from_numpy(pixels).to(device).flip(3).permute(0, 3, 1, 2).contiguous()
    return Kept(in_order, torch.tensor(labels, device=device) if len(labels) == number else None, counts)


@dataclass(frozen=True, slots=True)
class Looks:
    """The random parameters of a step's views, as `view` draws them; each (views,).

    row: index into `Kept`. side, top, left: the square, pixels. light: brightness, contrast, saturation (3, views);
    1 leaves them unchanged.
    """

    row: NDArray[np.int64]
    side: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    light: NDArray[np.float32]

    @classmethod
    def drawn(cls, kept: Kept, sampling: Sampling, draw: np.random.Generator) -> "Looks":
        """Draw the parameters of one step's views."""
        height, width = kept.pixels.shape[2:]
        counts, count = np.array(kept.counts), sampling.batch
        source = draw.choice(len(counts), count, p=sampling.probabilities)
        row = (counts.cumsum() - counts)[source] + draw.integers(counts[source])
        sides = np.rint(min(height, width) * np.sqrt(draw.uniform(sampling.least_area, 1, count)))
        side = np.maximum(1, sides).astype(np.int64)
        top, left = draw.integers(height - side + 1), draw.integers(width - side + 1)
        mirrored = draw.random(count) < 1 / 2
        return cls(row, side, top, left, mirrored, draw.uniform(1 - JITTER, 1 + JITTER, (3, count)).astype(np.float32))

    def own(self, positions: slice) -> "Looks":
        """Return the parameters at `positions`."""
        return Looks(
            self.row[positions],
            self.side[positions],
            self.top[positions],
            self.left[positions],
            self.mirrored[positions],
            self.light[:, positions],
        )


@dataclass(frozen=True)
class SmallViews:
    """A `ViewFeed` over pictures held in memory, with the same distribution of views as `Views`."""

    kept: Kept
    sampling: Sampling

    @property
    def batch(self) -> int:
        return self.sampling.batch

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """Yield batches from `step` on, without end."""
        own = self.sampling.ranks.own(self.batch)
        while True:
            draw = np.random.default_rng((self.sampling.seed, step, _STREAM))
            looks = Looks.drawn(self.kept, self.sampling, draw)
            yield self.of(step, looks.own(slice(own.start, own.stop)))
            step += 1

    def of(self, step: int, looks: Looks) -> Batch:
        """Return the batch of the views `looks`, at the step's resolutions."""
        device, preprocessing = self.kept.pixels.device, self.sampling.preprocessing
        where = np.stack([looks.row, looks.side, looks.top, looks.left, looks.mirrored])
        row, side, top, left, mirrored = uploaded(torch.from_numpy(where), device)
        light = uploaded(torch.from_numpy(looks.light), device)
        pixels = self.kept.pixels[row].float()
        inside = _within(top, side, pixels.shape[2])[:, :, None] * _within(left, side, pixels.shape[3])[:, None]
        pixels = _lit(pixels, inside, light)
        inputs = {}
        for resolution in set(self.sampling.resolutions(step)):
            crop = preprocessing.crop_at(resolution) / preprocessing.crop_fraction
            across = _interpolation(side, left, mirrored > 0, crop, resolution, pixels.shape[3])
            down = _interpolation(side, top, torch.zeros_like(mirrored > 0), crop, resolution, pixels.shape[2])
            resized = down[:, None] @ (pixels @ across.transpose(1, 2)[:, None])
            inputs[resolution] = normalised(_bytes(resized), preprocessing)
        return Batch(step, inputs, None if self.kept.labels is None else self.kept.labels[row])


def may_be_shown(kept: Kept, resolution: int) -> bool:
    """Whether cubic interpolation without prior shrinking suffices for inputs of `resolution` pixels a side."""
    return min(kept.pixels.shape[2:]) < _LARGEST_SHRINK * resolution


def _within(first: Tensor, side: Tensor, size: int) -> Tensor:
    """Return a mask (views, size): 1 at the `side` positions from `first` on, else 0."""
    place = torch.arange(size, device=side.device)
    return ((place >= first[:, None]) & (place < (first + side)[:, None])).float()


def _bytes(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255)


def _lit(pixels: Tensor, inside: Tensor, light: Tensor) -> Tensor:
    """Return pictures (views, 3, height, width), RGB, with brightness, contrast and saturation changed as by `seen`.

    inside: (views, height, width), 1 within the view's square, over which contrast takes its mean.
    """
    brightness, contrast, saturation = light[:, :, None, None, None]
    grey = uploaded(torch.tensor(GREY[::-1].copy(), dtype=torch.float32), pixels.device).view(1, 3, 1, 1)
    mean = (pixels * inside[:, None]).sum(dim=(1, 2, 3)) / (3 * inside.sum(dim=(1, 2)))
    mixed = saturation * pixels + (1 - saturation) * (pixels * grey).sum(dim=1, keepdim=True)
    return _bytes(brightness * (contrast * mixed + (1 - contrast) * mean.view(-1, 1, 1, 1)))


def _interpolation(side: Tensor, first: Tensor, mirrored: Tensor, crop: float, resolution: int, size: int) -> Tensor:
    """Return the interpolation matrix (views, resolution, size) from a picture's pixels to an input's, along one axis.

    side, first: the view's square, of which the input shows the central `crop`. Matches OpenCV's cubic interpolation.
    """
    shown = (side * crop).round().clamp_(min=1)
    place = (torch.arange(resolution, device=side.device) + 0.5) * (shown[:, None] / resolution) - 0.5
    base = place.floor()
    tap = torch.arange(-1, 3, device=side.device)
    away = (place - base)[:, :, None] - tap
    within = torch.minimum((base[:, :, None] + tap).clamp_(min=0), shown[:, None, None] - 1).long()
    within += torch.div(side - shown.long(), 2, rounding_mode="floor")[:, None, None]
    from_edge = torch.where(mirrored[:, None, None], side[:, None, None] - 1 - within, within)
    weights = torch.zeros(len(side), resolution, size, device=side.device)
    for number in range(len(tap)):  # tap by tap, so that the order of the sum does not depend on the device
        weights.scatter_add_(2, (first[:, None, None] + from_edge)[..., number, None], _cubic(away[..., number, None]))
    return weights


def _cubic(away: Tensor) -> Tensor:
    """Return the cubic weight of pixels at distance `away`, up to 2 pixels (Keys, 1981)."""
    far = away.abs()
    near = ((_CUBIC + 2) * far - (_CUBIC + 3)) * far * far + 1
    beyond = ((_CUBIC * far - 5 * _CUBIC) * far + 8 * _CUBIC) * far - 4 * _CUBIC
    return torch.where(far <= 1, near, beyond)
