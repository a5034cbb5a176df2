"""Pretraining: train a ResNet for small pictures from scratch on a folder of classes, for a given time or steps."""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor
from torch.nn import functional

from adainf import __version__
from adainf.backbones import Classes, cifar, weights
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.media import images
from adainf.media.undecodable import UndecodableError
from adainf.preprocessing import Preprocessing, prepare
from adainf.training import devices
from adainf.training.checkpoint import Checkpoint, Progress
from adainf.training.course import Course
from adainf.training.data.sources import TrainingSource, open_sources
from adainf.training.data.views import normalised
from adainf.training.devices import half, uploaded
from adainf.training.progress import progress_shown
from adainf.training.ranks import Ranks

__all__ = ["Data", "Pretrained", "Pretraining", "checkpoint_of", "learn", "pretrain", "read"]

_HELD_OUT = 10
_WARM_UP = 0.25
_MOMENTUM = 0.9
_DECAY = 5e-4
_PADDING = 4
_AT_ONCE = 1000
_MOST_ON_GPU = 1 << 30


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A pretraining request.

    Set either `steps` or `seconds`. side: picture side, pixels. label_smoothing: the share of each label that is spread
    over all classes. checkpoint_every: seconds between checkpoints. threads: decoder threads. device: `cpu`, `cuda`,
    `cuda:1`; None selects a GPU if one is available.
    """

    backbone: str
    folder: Path
    side: int
    batch: int
    learning_rate: float
    seed: int
    out: Path
    resume: bool
    steps: int | None = None
    seconds: float | None = None
    checkpoint_every: float = 60.0
    label_smoothing: float = 0.0
    threads: int = 1
    device: str | None = None

    def done(self, progress: Progress) -> float:
        """Return the completed fraction of the training, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        return min(1.0, progress.seconds / (self.seconds or math.inf))


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The outcome of a pretraining.

    accuracy: top-1 on the held-out pictures, 0 to 1.
    """

    progress: Progress
    learnt_from: int
    held_out: int
    accuracy: float


def checkpoint_of(out: Path) -> Path:
    """Return the path of the checkpoint from which unfinished weights `out` resume."""
    return out.with_name(f"{out.name}.partial")


def pretrain(wanted: Pretraining) -> Pretrained:
    """Train and write the weights, holding out every tenth picture to measure their accuracy.

    An interrupted training resumes from its last checkpoint; with `steps`, it ends with the same weights. Raises
    InvalidInputError if the request cannot be met, or if the loss is not finite; the last checkpoint is kept.
    """
    path = checkpoint_of(wanted.out)
    _check(wanted, path)
    device = devices.chosen(wanted.device, Ranks())
    if not wanted.backbone.startswith("cifar/"):
        raise InvalidInputError(f"backbone {wanted.backbone!r}: must be one of cifar/, networks for small pictures")
    pictures = images.listing(wanted.folder, labelled=True)
    names = tuple(dict.fromkeys(picture.folder for picture in pictures if picture.folder is not None))
    if len(names) < 2:
        raise InvalidInputError(f"images {wanted.folder}: holds the one class {names[0]!r}; two or more are needed")
    if len(pictures) < _HELD_OUT:
        raise InvalidInputError(
            f"images {wanted.folder}: holds {len(pictures)} pictures; {_HELD_OUT} or more are needed"
        )
    (source,) = open_sources((wanted.folder,), Classes(names), wanted.side)
    data = read(source, wanted.side, wanted.threads)
    progress, network = learn(wanted, data.learnt_from, names, _settings(wanted, source), device)
    held_out = data.held_out
    accuracy = _accuracy(network, held_out, device)
    weights.write(wanted.out, network, names)
    path.unlink(missing_ok=True)
    return Pretrained(progress, data.count - held_out.count, held_out.count, accuracy)


def _check(wanted: Pretraining, path: Path) -> None:
    if wanted.out.suffix != ".safetensors":
        raise InvalidInputError(f"{wanted.out}: must end in .safetensors")
    files.check_new_file(wanted.out)
    if wanted.out.exists():
        raise InvalidInputError(f"{wanted.out}: exists; give another name, or delete it")
    if path.exists() and not wanted.resume:
        raise InvalidInputError(f"{path}: is an unfinished training; give --resume, or delete it to start anew")


def _settings(wanted: Pretraining, source: TrainingSource) -> dict[str, JsonValue]:
    return {
        "version": __version__,
        "backbone": wanted.backbone,
        "images": hashlib.sha256(repr((source.identity, source.labels)).encode()).hexdigest(),
        "size": wanted.side,
        "batch": wanted.batch,
        "learning rate": wanted.learning_rate,
        "label smoothing": wanted.label_smoothing,
        "seed": wanted.seed,
        "steps": wanted.steps,
        "seconds": wanted.seconds,
    }


@dataclass(frozen=True, slots=True)
class Data:
    """A training set.

    pictures: (count, 3, side, side), RGB, uint8. labels: (count,), class indices.
    """

    pictures: Tensor
    labels: Tensor

    @property
    def count(self) -> int:
        return len(self.labels)

    def rows(self, rows: slice | NDArray[np.bool_] | Tensor) -> "Data":
        return Data(self.pictures[rows], self.labels[rows])

    @property
    def held_out(self) -> "Data":
        return self.rows(slice(_HELD_OUT - 1, None, _HELD_OUT))

    @property
    def learnt_from(self) -> "Data":
        return self.rows(np.arange(1, self.count + 1) % _HELD_OUT != 0)


def read(source: TrainingSource, side: int, threads: int) -> Data:
    """Decode all decodable pictures of a source with `threads` threads.

    Raises InvalidInputError if fewer than 10 pictures can be decoded.
    """
    # Kept in memory as bytes: the pictures are small, and every epoch uses them all.
    pictures = np.empty((source.count, 3, side, side), np.uint8)
    plain = Preprocessing(side, mean=(0, 0, 0), std=(1, 1, 1))

    def put(row: int) -> UndecodableError | None:
        try:
            np.rint(prepare(source.read(row), side, plain) * 255, out=pictures[row], casting="unsafe")
        except UndecodableError as error:
            return error
        return None

    with ThreadPoolExecutor(threads, "decode") as pool:
        failed = list(pool.map(put, range(source.count)))
    rows = [row for row, error in enumerate(failed) if error is None]
    if len(rows) < _HELD_OUT:
        decodable = f"{len(rows)} of {source.count} pictures can be decoded"
        raise InvalidInputError(f"images {source.name}: {decodable}; {_HELD_OUT} or more are needed")
    source.passed_over.note(*filter(None, failed))
    source.passed_over.tell()
    return Data(torch.from_numpy(pictures[rows]), torch.tensor(source.labels)[rows])


def learn(
    wanted: Pretraining, data: Data, names: Sequence[str], settings: dict[str, JsonValue], device: torch.device
) -> tuple[Progress, cifar.CifarResNet]:
    """Train a network on `device` to the end, from its checkpoint if there is one.

    Return progress and network. names: class names. settings: everything the outcome depends on; a checkpoint must
    match them. Raises InvalidInputError if the loss is not finite, or if a checkpoint cannot be written.
    """
    path = checkpoint_of(wanted.out)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(wanted.seed)
        network = cifar.network(wanted.backbone.partition("/")[2], len(names))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    checkpoint = Checkpoint.read(path, settings)
    if checkpoint is None:
        # Written before the first step, so that an unwritable folder fails at once and not an hour into training.
        checkpoint = Checkpoint(Progress(), {f"{key}/value": value for key, value in network.state_dict().items()})
        checkpoint.write(path, settings)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=1,
        momentum=_MOMENTUM,
        nesterov=True,
        weight_decay=_DECAY,
        fused=device.type == "cuda",
    )
    kept = dict(network.named_parameters()) | dict(network.named_buffers())
    checkpoint.restore(kept, optimizer)
    course = Course("pretraining", checkpoint.progress, min(wanted.batch, data.count), device)
    batches = _batches(data, course.progress.step, wanted, device)
    network.train()
    kept_at = now = time.monotonic()
    with progress_shown(silent=False) as tell:
        while (done := wanted.done(course.progress)) < 1:
            optimizer.param_groups[0]["lr"] = wanted.learning_rate * _one_cycle(done)
            figures = _step(network, optimizer, *next(batches), wanted.label_smoothing)
            before, now = now, time.monotonic()
            course.add(figures, now - before)
            to_keep = now - kept_at >= wanted.checkpoint_every
            if course.is_to_read or to_keep:
                tell(wanted.done(course.progress), course.read(), course.rate)
            if to_keep:
                kept_at = now
                Checkpoint.take(course.progress, kept, optimizer).write(path, settings)
        return course.read(), network


def _step(
    network: cifar.CifarResNet,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    labels: Tensor,
    label_smoothing: float,
) -> Tensor:
    """Take one optimizer step.

    Return its loss, top-1 and a zero (3,), as `Course.add` takes them.
    """
    with half(pictures.device):
        scores = network(pictures).float()
    loss = functional.cross_entropy(scores, labels, label_smoothing=label_smoothing)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    right = (scores.argmax(dim=1) == labels).float().mean()
    return torch.stack([loss.detach(), right, torch.zeros_like(right)])


def _one_cycle(done: float) -> float:
    """Return the fraction of the peak learning rate: linear warm-up, then cosine decay (one cycle, Smith, 2018)."""
    if done < _WARM_UP:
        return (done + 0.01) / (_WARM_UP + 0.01)
    return (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def _batches(data: Data, step: int, wanted: Pretraining, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each step's pictures and labels from `step` on; pictures are shifted by up to 4 px and randomly mirrored.

    Batches depend on seed and step alone. An epoch is one random permutation of the pictures, without the remainder
    that does not fill a batch.
    """
    if data.pictures.nbytes <= _MOST_ON_GPU:
        data = Data(data.pictures.to(device), data.labels.to(device))
    steps = max(1, data.count // wanted.batch)
    epoch, number = divmod(step, steps)
    while True:
        order = np.random.default_rng((wanted.seed, epoch)).permutation(data.count)
        for first in range(number * wanted.batch, steps * wanted.batch, wanted.batch):
            draw = np.random.default_rng((wanted.seed, epoch, first // wanted.batch))
            rows = torch.from_numpy(order[first : first + wanted.batch])
            moved = torch.from_numpy(draw.integers(0, 2 * _PADDING + 1, (2, len(rows), 1)))
            mirrored = torch.from_numpy(draw.random(len(rows)) < 1 / 2)
            chosen = data.rows(uploaded(rows, data.labels.device))
            pictures, labels = uploaded(chosen.pictures, device), uploaded(chosen.labels, device)
            yield _cropped(pictures, uploaded(moved, device), uploaded(mirrored, device)), labels
        epoch, number = epoch + 1, 0


def _cropped(pictures: Tensor, moved: Tensor, mirrored: Tensor) -> Tensor:
    """Return shifted, mirrored and normalised pictures (count, 3, side, side).

    moved: (2, count, 1), each picture's top and left in the padded frame.
    """
    side = pictures.shape[-1]
    padded = functional.pad(pictures.float(), (_PADDING,) * 4, mode="reflect")
    along = torch.arange(side, device=pictures.device)
    columns = along + moved[1]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    picture = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    # Index arrays on both sides of the slice move the channels last: the memory layout that the network runs with.
    cropped = padded.permute(0, 2, 3, 1)[picture, (along + moved[0])[:, :, None], columns[:, None, :]]
    return _normalised(cropped.permute(0, 3, 1, 2))


def _normalised(pictures: Tensor) -> Tensor:
    return normalised(pictures, Preprocessing(pictures.shape[-1], cifar.MEAN, cifar.DEVIATION))


@torch.inference_mode()
def _accuracy(network: cifar.CifarResNet, data: Data, device: torch.device) -> float:
    network.eval()
    right = 0
    for first in range(0, data.count, _AT_ONCE):
        part = data.rows(slice(first, first + _AT_ONCE))
        with half(device):
            scores = network(_normalised(part.pictures.to(device)))
        right += int((scores.argmax(dim=1) == part.labels.to(device)).sum())
    return right / data.count
