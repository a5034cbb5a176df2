"""User options of a backbone besides its name."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.preprocessing import Preprocessing

__all__ = ["RANDOM", "Options", "seeded", "unknown_name"]

RANDOM = "random"
"""The `weights` option for seeded random values, for measuring speed and for tests."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Options:
    """Weights, labels and preprocessing that a user requests for a backbone.

    weights: a file path, a tag of the family's hub, `random`, or None for the family's default.
    labels: texts for a zero-shot head, or names for a closed head's classes in order.
    size, mean, std: overrides of the preprocessing that belongs to the weights. zoom: how much less of a picture
    smaller inputs show; see `Preprocessing`.
    """

    weights: str | None = None
    labels: tuple[str, ...] = ()
    size: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    zoom: float = 0.0

    @property
    def weights_file(self) -> Path | None:
        """`weights` as a path, or None if it is not a file."""
        if self.weights is None or self.weights == RANDOM:
            return None
        path = Path(self.weights)
        looks_like_file = "/" in self.weights or path.suffix in {
            ".safetensors",
            ".pth",
            ".pt",
            ".bin",
            ".ckpt",
            ".tar",
        }
        return path if looks_like_file or files.is_file(path, "weights") else None

    def preprocessing(self, size: int, mean: Triple, std: Triple, crop_fraction: float) -> Preprocessing:
        """Return the preprocessing with these defaults of the weights and the user's overrides."""
        return Preprocessing(self.size or size, self.mean or mean, self.std or std, crop_fraction, self.zoom)


@contextmanager
def seeded() -> Iterator[None]:
    """Seed torch's random numbers inside the context, without affecting the caller's."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        yield


def unknown_name(family: str, name: str, known: Iterable[str]) -> InvalidInputError:
    """Return the error for an unknown name of a family, with the nearest known names."""
    nearest = ", ".join(difflib.get_close_matches(name, list(known), n=3, cutoff=0.3))
    return InvalidInputError(f"backbone '{family}/{name}': unknown; the nearest names are {nearest or 'none'}")
