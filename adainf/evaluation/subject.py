"""What a command evaluates: a network on a device, and labelled or unlabelled pictures."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf import images
from adainf.backbones import RANDOM, Backbone, Options, defaults, load
from adainf.backbones.macs import branch_space
from adainf.backbones.prefixes import scores_of_each
from adainf.backbones.weights import fingerprint
from adainf.branch import Branch
from adainf.engines.torch import TorchEngine
from adainf.errors import InvalidInputError
from adainf.profile import Profile

__all__ = ["BATCH", "Subject", "check_describes", "load_for_timing", "open_subject"]

# Measured on two cores: larger batches of 224 px pictures leave the caches, smaller ones the threads idle.
BATCH = 16


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and the pictures it is evaluated on.

    labels: each picture's class index, or None without labels. weights: the network's fingerprint.
    """

    engine: TorchEngine
    weights: str
    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None

    def batches(self, start: int = 0) -> Iterator[tuple[slice, list[NDArray[np.uint8]]]]:
        """Decoded pictures from row `start` on, a batch at a time, with their rows."""
        for first in range(start, len(self.paths), BATCH):
            rows = slice(first, min(first + BATCH, len(self.paths)))
            yield rows, [images.decode(path) for path in self.paths[rows]]

    def prepare(self, pictures: Iterable[NDArray[np.uint8]], resolution: int) -> Tensor:
        """The network's input (pictures, 3, resolution, resolution), exactly as the daemon prepares it."""
        return torch.cat([self.engine.prepare(picture, resolution) for picture in pictures])

    @torch.inference_mode()
    def scores(self, pictures: Sequence[NDArray[np.uint8]], branches: Iterable[Branch]) -> dict[Branch, Tensor]:
        """The scores (pictures, classes) of each branch, before softmax, on the CPU."""
        keeps: defaultdict[int, list[tuple[bool, ...]]] = defaultdict(list)
        for branch in branches:
            keeps[branch.resolution].append(branch.keep)
        return {
            Branch(resolution, keep): scores.float().cpu()
            for resolution in keeps
            for keep, scores in scores_of_each(
                self.engine.backbone, self.prepare(pictures, resolution), keeps[resolution]
            )
        }

    def top1(
        self, pictures: Sequence[NDArray[np.uint8]], branches: Iterable[Branch]
    ) -> dict[Branch, NDArray[np.int64]]:
        """The class index that each branch gives each picture."""
        return {branch: scores.argmax(dim=1).numpy() for branch, scores in self.scores(pictures, branches).items()}

    def truth(self, rows: slice, full_answers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of these rows; without labels the full branch's answers stand for them."""
        return full_answers if self.labels is None else self.labels[rows]


def open_subject(
    backbone: str,
    options: Options,
    folder: Path,
    *,
    labelled: bool,
    part: images.Part,
    limit: int | None,
    seed: int,
    threads: int | None = None,
) -> Subject:
    """Load `backbone` and list the pictures of `folder`.

    Weights default to an installed package's; labels of an open vocabulary to the class folders' names.
    Raises InvalidInputError on whatever of it cannot be used.
    """
    pictures = images.listing(folder, labelled=labelled)
    folders = [picture.folder for picture in pictures if picture.folder is not None]
    chosen = images.spread(part.rows(pictures), limit, seed)
    if not chosen:
        raise InvalidInputError(f"part {part}: {folder} has only {len(pictures)} pictures")
    texts = images.label_texts(folders) if _is_zero_shot(backbone) else ()
    network = load(
        backbone,
        replace(
            options,
            weights=options.weights or defaults.default_weights(backbone),
            labels=options.labels or texts,
        ),
    )
    labels = None
    if labelled:
        index_of = images.class_indices(folders, network.classes)
        labels = np.array([index_of[picture.folder] for picture in chosen if picture.folder is not None])
    # Taken before an engine moves or rounds them.
    weights = fingerprint(network)
    return Subject(TorchEngine(network, threads=threads), weights, tuple(picture.path for picture in chosen), labels)


def load_for_timing(profile: Profile, weights: str | None, labels: tuple[str, ...]) -> Backbone:
    """The profile's network with weights at hand, or else random ones, which take as long.

    Raises InvalidInputError where the profile does not describe that network.
    """
    chosen = weights or defaults.default_weights(profile.backbone) or RANDOM
    # A zero-shot head wants some text; one row of scores more or less takes no time.
    texts = labels or (("anything",) if _is_zero_shot(profile.backbone) else ())
    network = load(profile.backbone, Options(chosen, texts, profile.native_resolution))
    check_describes(profile, network)
    return network


def check_describes(profile: Profile, network: Backbone, weights: str | None = None) -> None:
    """Raise InvalidInputError unless `profile` is of `network` and, where given, of weights with this fingerprint."""
    space = profile.space
    counted = branch_space(network, space.parts)
    if counted.droppable != space.droppable or any(
        parts.blocks != counted.parts[resolution].blocks for resolution, parts in space.parts.items()
    ):
        raise InvalidInputError(f"profile: does not describe {network.name}; its blocks differ")
    if weights not in (None, profile.weights):
        what = "weights or labels" if _is_zero_shot(network.name) else "weights"
        raise InvalidInputError(f"profile: was calibrated for other {what} of {network.name} than these")


def _is_zero_shot(backbone: str) -> bool:
    return backbone.startswith("openclip/")
