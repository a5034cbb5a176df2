"""The subject of an evaluation: a family of networks on a device, and labelled or unlabelled pictures."""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from adainf.backbones.prefixes import features_of_each, scores_of_each
from adainf.backbones.weights import fingerprint
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.branch import REFERENCE, Branch, FamilySpace
from adainf.engines.opening import NetworkSource
from adainf.engines.torch import TorchEngine
from adainf.evaluation.frames import Frames
from adainf.media import checking, images
from adainf.media.undecodable import PassedOver, UndecodableError, none_left
from adainf.outline import check_same_classes
from adainf.profile import Network, Profile
from adainf.training.ranks import Ranks

__all__ = [
    "BATCH",
    "Point",
    "Subject",
    "check_describes",
    "check_subject",
    "load_for_timing",
    "open_networks",
    "open_subject",
    "pooled",
]

# Measured on two cores: larger batches of 224 px pictures exceed the caches, smaller ones leave the threads idle.
BATCH = 16
# Video frames are kept large enough for a network of this resolution, unless a size is given.
_VIDEO_SIDE = 384


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A position in a network, after block number `len(kept)`.

    kept: which blocks up to there ran. network: as in `Branch`.
    """

    resolution: int
    kept: tuple[bool, ...]
    network: str = REFERENCE

    @classmethod
    def parse(cls, text: str) -> "Point":
        """Parse the output of `str`; raises ValueError on anything else."""
        place, kept = text.rsplit(":", 1)
        network, _, resolution = place.rpartition("/")
        return cls(int(resolution), tuple(digit == "1" for digit in kept), network)

    def is_on(self, branch: Branch) -> bool:
        """Return whether the branch passes this point."""
        prefix = branch.keep[: len(self.kept)]
        return (branch.network, branch.resolution, prefix) == (self.network, self.resolution, self.kept)

    def macs(self, space: FamilySpace) -> int:
        """Return the MACs from the input to this point."""
        return space.networks[self.network].parts[self.resolution].until(self.kept)

    def __str__(self) -> str:
        named = f"{self.network}/" if self.network else ""
        return f"{named}{self.resolution}:{''.join('1' if kept else '0' for kept in self.kept)}"


@dataclass(frozen=True, slots=True)
class Subject:
    """A family of networks and the pictures it is evaluated on.

    labels: each picture's class index, or None without labels. names: of the networks in their family. weights: each
    network's fingerprint, without an adapter.
    adapted: what its branches name the network with a run's adapter, and the network that it adapts; None without one.
    ranks: the processes that share the pictures. frames: keeps a video's extracted pictures alive. passed_over:
    pictures that cannot be decoded; they are not in `paths`.
    """

    engine: TorchEngine
    names: Mapping[str, str]
    weights: Mapping[str, str]
    paths: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    adapted: tuple[str, str] | None = None
    ranks: Ranks = field(default_factory=Ranks)
    frames: Frames | None = None
    passed_over: PassedOver = field(default_factory=PassedOver)

    @property
    def networks(self) -> Mapping[str, Backbone]:
        """The networks, by what their branches name them."""
        return self.engine.networks

    @property
    def reference(self) -> Backbone:
        """The network of the full branch."""
        return self.engine.networks[REFERENCE]

    @property
    def full(self) -> Branch:
        """The full branch, the reference for all others."""
        return self.reference.full

    def weakened(self, strength: float) -> "Subject":
        """Return a subject whose adapter has the given strength; the subject itself if it has no adapter."""
        if self.adapted is None:
            return self
        key, base = self.adapted
        network = weakened(copy.deepcopy(self.networks[key]), self.networks[base], strength)
        engine = copy.copy(self.engine)
        engine.networks = {**self.networks, key: network}
        return replace(self, engine=engine)

    def zoom_by(self, network: str, zoom: float) -> None:
        """Set the zoom of a network's preprocessing from now on: how much less of a picture smaller inputs show."""
        outline = self.engine.outlines[network]
        self.engine.outlines[network] = replace(outline, preprocessing=replace(outline.preprocessing, zoom=zoom))

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

    def prepare(
        self,
        pictures: Iterable[NDArray[np.uint8]],
        resolution: int,
        network: str = REFERENCE,
        *,
        squeezed: bool = False,
    ) -> Tensor:
        """Return a network's input (pictures, 3, resolution, resolution), exactly as the daemon prepares it.

        squeezed: as in `Engine.prepare`.
        """
        return torch.cat([self.engine.prepare(picture, resolution, network, squeezed=squeezed) for picture in pictures])

    @torch.inference_mode()
    def scores(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        branches: Iterable[Branch],
        passing: Callable[[Point, Tensor], None] | None = None,
    ) -> dict[Branch, Tensor]:
        """Return each branch's scores (pictures, classes), before softmax, on the CPU.

        passing: called with the output (pictures, …) of each block, once for all branches that share it.
        """
        scores_of: dict[Branch, Tensor] = {}
        for (network, resolution), kept in _by_input(branches).items():
            prepared = self.prepare(pictures, resolution, network)
            callback = None if passing is None else partial(_passed, passing, network, resolution)
            for keep, scores in scores_of_each(self.networks[network], prepared, kept, callback):
                scores_of[Branch(resolution, keep, network)] = scores.float().cpu()
        return scores_of

    @torch.inference_mode()
    def features(
        self, pictures: Sequence[NDArray[np.uint8]], branches: Iterable[Branch], *, squeezed: bool = False
    ) -> dict[Branch, NDArray[np.float32]]:
        """Return each branch's pooled features (pictures, width). squeezed: as in `Engine.prepare`."""
        features_of: dict[Branch, NDArray[np.float32]] = {}
        for (network, resolution), kept in _by_input(branches).items():
            prepared = self.prepare(pictures, resolution, network, squeezed=squeezed)
            for keep, features in features_of_each(self.networks[network], prepared, kept):
                features_of[Branch(resolution, keep, network)] = features.float().cpu().numpy()
        return features_of

    @torch.inference_mode()
    def first_features(self, pictures: Sequence[NDArray[np.uint8]], branch: Branch) -> NDArray[np.float32]:
        """Return the `pooled` output of the first block of a branch (pictures, features)."""
        network = self.networks[branch.network]
        prepared = self.prepare(pictures, branch.resolution, branch.network)
        return pooled(network.step(0, network.stem(prepared), True))

    def top1(
        self, pictures: Sequence[NDArray[np.uint8]], branches: Iterable[Branch]
    ) -> dict[Branch, NDArray[np.int64]]:
        """Return each branch's class index for each picture (pictures,)."""
        return {branch: scores.argmax(dim=1).numpy() for branch, scores in self.scores(pictures, branches).items()}

    def truth(self, rows: slice, full_answers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the labels of `rows`, or without labels the full branch's answers."""
        return full_answers if self.labels is None else self.labels[rows]


def _by_input(branches: Iterable[Branch]) -> Mapping[tuple[str, int], list[tuple[bool, ...]]]:
    """Return the blocks that run of the branches of each network and resolution."""
    keeps: defaultdict[tuple[str, int], list[tuple[bool, ...]]] = defaultdict(list)
    for branch in branches:
        keeps[branch.network, branch.resolution].append(branch.keep)
    return keeps


def _passed(
    passing: Callable[[Point, Tensor], None],
    network: str,
    resolution: int,
    kept: tuple[bool, ...],
    hidden: Tensor,
) -> None:
    passing(Point(resolution, kept, network), hidden)


def pooled(hidden: Tensor) -> NDArray[np.float32]:
    """Return the mean and standard deviation of each channel of a block's output (pictures, 2 · channels)."""
    axes = (2, 3) if hidden.ndim == 4 else (1,)  # maps are pooled over positions, tokens over their sequence
    values = hidden.float()
    features = torch.cat([values.mean(dim=axes), values.std(dim=axes, correction=0)], dim=1)
    result: NDArray[np.float32] = features.cpu().numpy()
    return result


def open_subject(
    sources: Mapping[str, NetworkSource],
    source: Path,
    *,
    labelled: bool,
    part: images.Part,
    limit: int | None,
    seed: int,
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Subject:
    """Load the networks and list the pictures of `source`.

    sources: the networks, by what their branches name them; an adapted one follows the network that it adapts. source:
    a folder, or without labels a video. ranks: the processes that share the pictures; None means this process alone.
    The labels of an open vocabulary default to the class folders' names. Raises InvalidInputError if a network or
    `source` is unusable, or the networks' classes differ.
    """
    sizes = [of.options.size for of in sources.values()]
    size = max(side or _VIDEO_SIDE for side in sizes)
    frames = Frames(source, size, labelled=labelled) if files.is_file(source, "images") else None
    pictures = images.listing(frames.folder if frames else source, labelled=labelled)
    folders = [picture.folder for picture in pictures if picture.folder is not None]
    chosen = images.spread(part.rows(pictures), limit, seed)
    if not chosen:
        raise InvalidInputError(f"part {part}: {source} has only {len(pictures)} pictures")
    chosen, passed_over = _decodable(source, chosen, silent=ranks is not None and not ranks.is_first)
    subject = open_networks(sources, folders, threads, ranks)
    labels = None
    if labelled:
        index_of = images.class_indices(folders, subject.reference.classes)
        labels = np.array([index_of[picture.folder] for picture in chosen if picture.folder is not None])
    paths = tuple(picture.path for picture in chosen)
    return replace(subject, paths=paths, labels=labels, frames=frames, passed_over=passed_over)


def open_networks(
    sources: Mapping[str, NetworkSource],
    folders: Sequence[str] = (),
    threads: int | None = None,
    ranks: Ranks | None = None,
) -> Subject:
    """Load the networks; return a subject without pictures.

    folders: the class folders, whose names are the default labels of an open vocabulary. Otherwise as `open_subject`.
    """
    networks, weights = _loaded(sources, folders)
    if ranks is None:
        engine = TorchEngine(networks, threads=threads)
    else:
        engine = TorchEngine(networks, str(ranks.device), threads or ranks.threads)
    names = {key: network.name for key, network in sources.items()}
    return Subject(engine, names, weights, (), None, _adapted(sources), ranks or Ranks())


def _loaded(sources: Mapping[str, NetworkSource], folders: Sequence[str]) -> tuple[dict[str, Backbone], dict[str, str]]:
    """Return the networks, and the fingerprints of their weights without an adapter."""
    networks: dict[str, Backbone] = {}
    weights: dict[str, str] = {}
    adapted_from = _adapted(sources)
    for key, source in sources.items():
        if adapted_from is not None and key == adapted_from[0] and source.run is not None:
            base = adapted_from[1]
            networks[key], weights[key] = adapted(networks[base], source.run, source.strength), weights[base]
            continue
        texts = images.label_texts(folders) if _is_zero_shot(source.backbone) else ()
        options = replace(source.options, labels=source.options.labels or texts)
        networks[key] = load(source.backbone, options)
        # The fingerprint must precede the engine, which may move or round the weights.
        weights[key] = fingerprint(networks[key])
    check_same_classes({source.name: networks[key].classes.names for key, source in sources.items()})
    return networks, weights


def _adapted(sources: Mapping[str, NetworkSource]) -> tuple[str, str] | None:
    """Return the key of the network with an adapter, and that of the network with the same backbone without it."""
    before: dict[str, str] = {}
    for key, source in sources.items():
        if source.run is not None and source.run.adapter_path is not None:
            if source.backbone not in before:
                raise InvalidInputError(f"network {source.name}: must stand after the {source.backbone} that it adapts")
            return key, before[source.backbone]
        before.setdefault(source.backbone, key)
    return None


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


def load_for_timing(
    profile: Profile, weights: str | None, of_networks: Mapping[str, str], labels: tuple[str, ...]
) -> dict[str, Backbone]:
    """Load the profile's networks with available weights, else with random weights, which take as long.

    weights: of the reference. of_networks: of others, by name. An adapted network is timed without its adapter, which
    is merged into the weights. Raises InvalidInputError if the profile does not describe a network, or if the networks'
    classes differ.
    """
    names = [network.name for network in profile.networks]
    for name in sorted(set(of_networks) - set(names)):
        raise InvalidInputError(f"weights of network {name}: the profile's networks are {', '.join(names)}")
    networks: dict[str, Backbone] = {}
    for key, network in profile.of_key.items():
        base = next((of for of in networks.values() if of.name == network.backbone), None)
        if network.adapter is not None and base is not None:
            networks[key] = base
            continue
        named = of_networks.get(network.name) or (weights if key == REFERENCE else None)
        chosen = named or defaults.default_weights(network.backbone) or RANDOM
        # A zero-shot head needs at least one text; the number of texts does not affect the time noticeably.
        texts = labels or (("anything",) if _is_zero_shot(network.backbone) else ())
        options = Options(chosen, texts, network.native_resolution, zoom=network.zoom)
        networks[key] = load(network.backbone, options)
        classes = networks[REFERENCE].classes.names
        if named is None and networks[key].classes.names != classes:
            networks[key] = load(network.backbone, replace(options, weights=RANDOM, labels=classes))
        check_describes(network, networks[key])
    check_same_classes({profile.of_key[key].name: network.classes.names for key, network in networks.items()})
    return networks


def check_subject(profile: Profile, subject: Subject) -> None:
    """Raise InvalidInputError unless the profile was made for the subject's networks, weights and run."""
    if profile.adapted is not None and subject.adapted is None:
        raise InvalidInputError("profile: has branches with adapted weights; give the run that they belong to")
    for key, network in subject.networks.items():
        check_describes(profile.of_key[key], network, subject.weights[key])


def check_describes(described: Network, network: Backbone, weights: str | None = None) -> None:
    """Raise InvalidInputError unless `described` is `network` and, if given, has weights of this fingerprint."""
    space = described.space(REFERENCE)
    counted = branch_space(network, space.parts)
    if counted.droppable != space.droppable or any(
        parts.blocks != counted.parts[resolution].blocks for resolution, parts in space.parts.items()
    ):
        raise InvalidInputError(f"profile: does not describe {network.name}; its blocks differ")
    if weights not in (None, described.weights):
        mismatch = "weights or labels" if _is_zero_shot(network.name) else "weights"
        raise InvalidInputError(f"profile: was calibrated for other {mismatch} of {network.name} than these")


def _is_zero_shot(backbone: str) -> bool:
    return backbone.startswith("openclip/")
