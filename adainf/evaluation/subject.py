"""The subject of an evaluation: a network on a device, and labelled or unlabelled pictures."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import RANDOM, Backbone, Options, defaults, load
from adainf.backbones.adapters import adapted, weakened
from adainf.backbones.macs import branch_space
from adainf.backbones.prefixes import scores_of_each
from adainf.backbones.weights import fingerprint
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace
from adainf.engines.torch import TorchEngine
from adainf.evaluation.frames import Frames
from adainf.media import checking, images
from adainf.media.undecodable import PassedOver, UndecodableError, none_left
from adainf.profile import Measured, Profile, WeightSet
from adainf.run import Run
from adainf.schedulers import Choice
from adainf.training.ranks import Ranks

__all__ = ["BATCH", "Candidate", "Point", "Subject", "check_describes", "load_for_timing", "open_subject", "pooled"]

# Measured on two cores: larger batches of 224 px pictures exceed the caches, smaller ones leave the threads idle.
BATCH = 16
# Video frames are kept large enough for a network of this resolution, unless a size is given.
_VIDEO_SIDE = 384


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A position in the network, after block number `len(kept)`.

    kept: which blocks up to there ran.
    """

    resolution: int
    weights: WeightSet
    kept: tuple[bool, ...]

    @classmethod
    def parse(cls, text: str) -> "Point":
        """Parse the output of `str`; raises ValueError on anything else."""
        resolution, weights, kept = text.split(":")
        known: dict[str, WeightSet] = {"base": "base", "adapted": "adapted"}
        if weights not in known:
            raise ValueError(f"point {text!r}: weights must be base or adapted")
        return cls(int(resolution), known[weights], tuple(digit == "1" for digit in kept))

    def is_on(self, choice: Choice) -> bool:
        """Return whether the branch of `choice` passes this point."""
        branch = choice.branch
        prefix = branch.keep[: len(self.kept)]
        return (branch.resolution, choice.weights, prefix) == (self.resolution, self.weights, self.kept)

    def macs(self, space: BranchSpace) -> int:
        """Return the MACs from the input to this point."""
        return space.parts[self.resolution].until(self.kept)

    def __str__(self) -> str:
        return f"{self.resolution}:{self.weights}:{''.join('1' if kept else '0' for kept in self.kept)}"


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A branch with its set of weights."""

    branch: Branch
    weights: WeightSet = "base"

    @classmethod
    def of(cls, measured: Measured) -> "Candidate":
        """Return the candidate of a profile's measurement."""
        return cls(Branch.parse(measured.branch), measured.weights)


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and the pictures it is evaluated on.

    labels: each picture's class index, or None without labels. weights: the network's fingerprint.
    adapted: the network with a run's adapter merged at some strength; None without a run.
    ranks: the processes that share the pictures. frames: keeps a video's extracted pictures alive. passed_over:
    pictures that cannot be decoded; they are not in `paths`.
    """

    engine: TorchEngine
    weights: str
    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    adapted: Backbone | None = None
    ranks: Ranks = field(default_factory=Ranks)
    frames: Frames | None = None
    passed_over: PassedOver = field(default_factory=PassedOver)

    @property
    def full(self) -> Candidate:
        """The full branch with the base weights, the reference for all other candidates."""
        return Candidate(self.engine.backbone.full)

    def backbone(self, weights: WeightSet) -> Backbone:
        """Return the network with this set of weights; raises InvalidInputError if there is none."""
        if weights == "base":
            return self.engine.backbone
        if self.adapted is None:
            raise InvalidInputError("profile: has branches with adapted weights; give the run that they belong to")
        return self.adapted

    def weakened(self, strength: float) -> "Subject":
        """Return a subject whose adapter has the given strength; the subject itself if it has no adapter."""
        if self.adapted is None:
            return self
        return replace(self, adapted=weakened(copy.deepcopy(self.adapted), self.engine.backbone, strength))

    def zoom_by(self, zoom: float) -> None:
        """Set the zoom of the preprocessing from now on: how much less of a picture smaller inputs show."""
        self.engine.preprocessing = replace(self.engine.preprocessing, zoom=zoom)

    def batches(self, start: int = 0) -> Iterator[tuple[slice, list[NDArray[np.uint8]]]]:
        """Yield batches of rows and decoded pictures, from row `start` on."""
        for first in range(start, len(self.paths), BATCH):
            rows = slice(first, min(first + BATCH, len(self.paths)))
            yield rows, [images.decode(path) for path in self.paths[rows]]

    def shared_batches(self, start: int) -> Iterator[tuple[int, slice, list[NDArray[np.uint8]]]]:
        """Yield, for each batch from row `start` on, its end row, and this process's own rows and pictures of it."""
        for first in range(start, len(self.paths), BATCH):
            end = min(first + BATCH, len(self.paths))
            own = self.ranks.own(end - first)
            rows = slice(first + own.start, first + own.stop)
            yield end, rows, [images.decode(path) for path in self.paths[rows]]

    def prepare(self, pictures: Iterable[NDArray[np.uint8]], resolution: int) -> Tensor:
        """Return the network's input (pictures, 3, resolution, resolution), exactly as the daemon prepares it."""
        return torch.cat([self.engine.prepare(picture, resolution) for picture in pictures])

    @torch.inference_mode()
    def scores(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        candidates: Iterable[Candidate],
        passing: Callable[[Point, Tensor], None] | None = None,
    ) -> dict[Candidate, Tensor]:
        """Return each candidate's scores (pictures, classes), before softmax, on the CPU.

        passing: called with the output (pictures, …) of each block, once for all candidates that share it.
        """
        keeps: defaultdict[int, defaultdict[WeightSet, list[tuple[bool, ...]]]]
        keeps = defaultdict(lambda: defaultdict(list))
        for candidate in candidates:
            keeps[candidate.branch.resolution][candidate.weights].append(candidate.branch.keep)
        scores_of: dict[Candidate, Tensor] = {}
        for resolution, of_sets in keeps.items():
            prepared = self.prepare(pictures, resolution)
            for weights, branches_kept in of_sets.items():
                callback = None if passing is None else partial(_passed, passing, resolution, weights)
                for keep, scores in scores_of_each(self.backbone(weights), prepared, branches_kept, callback):
                    scores_of[Candidate(Branch(resolution, keep), weights)] = scores.float().cpu()
        return scores_of

    @torch.inference_mode()
    def first_features(self, pictures: Sequence[NDArray[np.uint8]], resolution: int) -> NDArray[np.float32]:
        """Return the `pooled` output of the first block (pictures, features)."""
        backbone = self.engine.backbone
        return pooled(backbone.step(0, backbone.stem(self.prepare(pictures, resolution)), True))

    def top1(
        self, pictures: Sequence[NDArray[np.uint8]], candidates: Iterable[Candidate]
    ) -> dict[Candidate, NDArray[np.int64]]:
        """Return each candidate's class index for each picture (pictures,)."""
        return {
            candidate: scores.argmax(dim=1).numpy() for candidate, scores in self.scores(pictures, candidates).items()
        }

    def truth(self, rows: slice, full_answers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels of `rows`, or without labels the full branch's answers."""
        return full_answers if self.labels is None else self.labels[rows]


def _passed(
    passing: Callable[[Point, Tensor], None],
    resolution: int,
    weights: WeightSet,
    kept: tuple[bool, ...],
    hidden: Tensor,
) -> None:
    passing(Point(resolution, weights, kept), hidden)


def pooled(hidden: Tensor) -> NDArray[np.float32]:
    """Return the mean and standard deviation of each channel of a block's output (pictures, 2 · channels)."""
    axes = (2, 3) if hidden.ndim == 4 else (1,)  # maps are pooled over positions, tokens over their sequence
    values = hidden.float()
    features = torch.cat([values.mean(dim=axes), values.std(dim=axes, correction=0)], dim=1)
    result: NDArray[np.float32] = features.cpu().numpy()
    return result


def open_subject(
    backbone: str,
    options: Options,
    source: Path,
    *,
    labelled: bool,
    part: images.Part,
    limit: int | None,
    seed: int,
    threads: int | None = None,
    run: Run | None = None,
    strength: float = 1.0,
    ranks: Ranks | None = None,
) -> Subject:
    """Load `backbone`, with the run's adapter if there is one, and list the pictures of `source`.

    source: a folder, or without labels a video. strength: of the run's adapter. ranks: the processes that share the
    pictures; None means this process alone. Weights default to those of an installed package; the labels of an open
    vocabulary default to the class folders' names. Raises InvalidInputError if backbone, run or source is unusable.
    """
    frames = Frames(source, options.size or _VIDEO_SIDE, labelled=labelled) if files.is_file(source, "images") else None
    pictures = images.listing(frames.folder if frames else source, labelled=labelled)
    folders = [picture.folder for picture in pictures if picture.folder is not None]
    chosen = images.spread(part.rows(pictures), limit, seed)
    if not chosen:
        raise InvalidInputError(f"part {part}: {source} has only {len(pictures)} pictures")
    chosen, passed_over = _decodable(source, chosen, silent=ranks is not None and not ranks.is_first)
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
    # The fingerprint must precede the engine, which may move or round the weights.
    weights = fingerprint(network)
    adapted_network = None if run is None or run.adapter_path is None else adapted(network, run, strength)
    if ranks is None:
        engine = TorchEngine(network, threads=threads)
    else:
        engine = TorchEngine(network, str(ranks.device), threads or ranks.threads)
    if adapted_network is not None:
        adapted_network = adapted_network.to(next(engine.backbone.parameters())).to(memory_format=torch.channels_last)
    return Subject(
        engine,
        weights,
        tuple(picture.path for picture in chosen),
        labels,
        adapted_network,
        ranks or Ranks(),
        frames,
        passed_over,
    )


def _decodable(
    source: Path, chosen: Sequence[images.Picture], *, silent: bool
) -> tuple[list[images.Picture], PassedOver]:
    unusable = checking.undecodable([picture.path for picture in chosen])
    failed = [UndecodableError(chosen[row].path, why) for row, why in unusable.items()]
    if len(failed) == len(chosen):
        raise none_left(source, failed)
    passed_over = PassedOver(silent=silent)
    passed_over.note(*failed)
    return [picture for row, picture in enumerate(chosen) if row not in unusable], passed_over


def load_for_timing(profile: Profile, weights: str | None, labels: tuple[str, ...]) -> Backbone:
    """Load the profile's network with available weights, else with random weights, which take as long.

    Raises InvalidInputError if the profile does not describe the network.
    """
    chosen = weights or defaults.default_weights(profile.backbone) or RANDOM
    # A zero-shot head needs at least one text; the number of texts does not affect the time noticeably.
    texts = labels or (("anything",) if _is_zero_shot(profile.backbone) else ())
    network = load(profile.backbone, Options(chosen, texts, profile.native_resolution, zoom=profile.zoom))
    check_describes(profile, network)
    return network


def check_describes(profile: Profile, network: Backbone, weights: str | None = None) -> None:
    """Raise InvalidInputError unless `profile` describes `network` and, if given, weights of this fingerprint."""
    space = profile.space
    counted = branch_space(network, space.parts)
    if counted.droppable != space.droppable or any(
        parts.blocks != counted.parts[resolution].blocks for resolution, parts in space.parts.items()
    ):
        raise InvalidInputError(f"profile: does not describe {network.name}; its blocks differ")
    if weights not in (None, profile.weights):
        mismatch = "weights or labels" if _is_zero_shot(network.name) else "weights"
        raise InvalidInputError(f"profile: was calibrated for other {mismatch} of {network.name} than these")


def _is_zero_shot(backbone: str) -> bool:
    return backbone.startswith("openclip/")
