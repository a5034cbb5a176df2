"""What a user may say about a backbone besides its name."""

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
"""Given as weights: seeded random values, for measuring speed and for tests."""

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Options:
    """Weights, labels and preprocessing of a backbone, as the user wants them.

    weights: a file's path, a name (tag) at the family's hub, `random`, or None for the family's default.
    labels: texts for a zero-shot head, or names for a closed head's classes in order.
    size, mean, std: override the preprocessing that belongs to the weights. zoom: how much less of a picture smaller
    inputs show, as `Preprocessing` has it.
    """

    weights: str | None = None
    labels: tuple[str, ...] = ()
    size: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    zoom: float = 0.0

    @property
    def weights_file(self) -> Path | None:
        """The path that `weights` is, or None where it is a name."""
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
        """The given defaults of the weights, with the user's overrides."""
        return Preprocessing(self.size or size, self.mean or mean, self.std or std, crop_fraction, self.zoom)


@contextmanager
def seeded() -> Iterator[None]:
    """Random weights drawn inside are the same each time; the caller's own random numbers stay as they were."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        yield


def unknown_name(family: str, name: str, known: Iterable[str]) -> InvalidInputError:
    """The error for a name that the family has not, with the nearest ones it has."""
    nearest = ", ".join(difflib.get_close_matches(name, list(known), n=3, cutoff=0.3))
    return InvalidInputError(f"backbone '{family}/{name}': unknown; the nearest names are {nearest or 'none'}")
