"""Pretraining: a ResNet for small pictures learns a folder's classes from nothing, within a given time."""

import hashlib
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor
from torch.nn import functional

from adainf import __version__, files, images
from adainf.backbones import Classes, cifar, weights
from adainf.errors import InvalidInputError
from adainf.preprocessing import Preprocessing, prepare
from adainf.training.checkpoint import Checkpoint, Progress
from adainf.training.progress import progress_shown
from adainf.training.sources import Source, open_sources
from adainf.undecodable import UndecodableError

__all__ = ["Pretrained", "Pretraining", "checkpoint_of", "pretrain"]

_HELD_OUT = 10
_WARM_UP = 0.25
_MOMENTUM = 0.9
_DECAY = 5e-4
_PADDING = 4
_AT_ONCE = 250
_MEMORY = 0.98


@dataclass(frozen=True, slots=True)
class Pretraining:
    """What the user asks for. One of steps and seconds is given. side: of the pictures, pixels.

    checkpoint_every: seconds between two checkpoints.
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

    def done(self, progress: Progress) -> float:
        """How much of it is done, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        return min(1.0, progress.seconds / (self.seconds or math.inf))


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What came of it. accuracy: top-1 on the pictures held out, a share."""

    progress: Progress
    learnt_from: int
    held_out: int
    accuracy: float


def checkpoint_of(out: Path) -> Path:
    """Where the checkpoint of weights that are not finished is."""
    return out.with_name(f"{out.name}.partial")


def pretrain(wanted: Pretraining) -> Pretrained:
    """Train and write the weights; every tenth picture is held out, and says how good they are.

    Killed, it goes on from its last checkpoint, and ends with the same weights where the end is given in steps. Raises
    InvalidInputError on whatever cannot be done, and where the loss is no number; the last checkpoint stays.
    """
    path = checkpoint_of(wanted.out)
    _check(wanted, path)
    family, _, name = wanted.backbone.partition("/")
    if family != "cifar":
        raise InvalidInputError(f"backbone {wanted.backbone!r}: must be one of cifar/, networks for small pictures")
    pictures = images.listing(wanted.folder, labelled=True)
    names = tuple(dict.fromkeys(picture.folder for picture in pictures if picture.folder is not None))
    if len(names) < 2:
        raise InvalidInputError(f"images {wanted.folder}: holds the one class {names[0]!r}; two or more are needed")
    if len(pictures) < _HELD_OUT:
        raise InvalidInputError(
            f"images {wanted.folder}: holds {len(pictures)} pictures; {_HELD_OUT} or more are needed"
        )
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(wanted.seed)
        network = cifar.network(name, len(names)).to(memory_format=torch.channels_last)
    (source,) = open_sources((wanted.folder,), Classes(names), wanted.side)
    settings = _settings(wanted, source)
    checkpoint = Checkpoint.read(path, settings)
    if checkpoint is None:
        # At once, so that a folder that cannot be written is known before an hour is spent.
        checkpoint = Checkpoint(Progress(), {f"{key}/value": value for key, value in network.state_dict().items()})
        checkpoint.write(path, settings)
    data = _read(source, wanted.side)
    progress = _train(wanted, network, data, checkpoint, path, settings)
    held_out = data.held_out
    accuracy = _accuracy(network, held_out)
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


def _settings(wanted: Pretraining, source: Source) -> dict[str, JsonValue]:
    return {
        "version": __version__,
        "backbone": wanted.backbone,
        "images": hashlib.sha256(repr((source.identity, source.labels)).encode()).hexdigest(),
        "size": wanted.side,
        "batch": wanted.batch,
        "learning rate": wanted.learning_rate,
        "seed": wanted.seed,
        "steps": wanted.steps,
        "seconds": wanted.seconds,
    }


@dataclass(frozen=True, slots=True)
class _Data:
    """pictures: (count, 3, side, side), RGB, as bytes. labels: (count)."""

    pictures: Tensor
    labels: Tensor

    @property
    def count(self) -> int:
        return len(self.labels)

    def rows(self, rows: slice | NDArray[np.bool_]) -> "_Data":
        return _Data(self.pictures[rows], self.labels[rows])

    @property
    def held_out(self) -> "_Data":
        return self.rows(slice(_HELD_OUT - 1, None, _HELD_OUT))

    @property
    def learnt_from(self) -> "_Data":
        return self.rows(np.arange(1, self.count + 1) % _HELD_OUT != 0)


def _read(source: Source, side: int) -> _Data:
    # All pictures are kept: a byte a value, they are small, and are seen many times.
    pictures = np.empty((source.count, 3, side, side), np.uint8)
    plain = Preprocessing(side, mean=(0, 0, 0), std=(1, 1, 1))
    rows: list[int] = []
    failed: list[UndecodableError] = []
    for row in range(source.count):
        try:
            np.rint(prepare(source.read(row), side, plain) * 255, out=pictures[len(rows)], casting="unsafe")
        except UndecodableError as error:
            failed.append(error)
        else:
            rows.append(row)
    if len(rows) < _HELD_OUT:
        decodable = f"{len(rows)} of {source.count} pictures can be decoded"
        raise InvalidInputError(f"images {source.name}: {decodable}; {_HELD_OUT} or more are needed")
    source.passed_over.note(*failed)
    source.passed_over.tell()
    return _Data(torch.from_numpy(pictures[: len(rows)]), torch.tensor(source.labels)[rows])


def _train(
    wanted: Pretraining,
    network: cifar.CifarResNet,
    data: _Data,
    checkpoint: Checkpoint,
    path: Path,
    settings: dict[str, JsonValue],
) -> Progress:
    optimizer = torch.optim.SGD(network.parameters(), lr=1, momentum=_MOMENTUM, nesterov=True, weight_decay=_DECAY)
    kept = dict(network.named_parameters()) | dict(network.named_buffers())
    checkpoint.restore(kept, optimizer)
    progress = checkpoint.progress
    learnt_from = data.learnt_from
    network.train()
    kept_at = now = time.monotonic()
    with progress_shown(silent=False) as tell:
        while (done := wanted.done(progress)) < 1:
            optimizer.param_groups[0]["lr"] = wanted.learning_rate * _one_cycle(done)
            pictures, labels = _batch(learnt_from, progress.step, wanted)
            scores = network(pictures)
            loss = functional.cross_entropy(scores, labels)
            if not math.isfinite(loss.item()):
                raise InvalidInputError(
                    f"pretraining: the loss is {loss.item()} at step {progress.step}; "
                    "start again with a lower learning rate (the last checkpoint is kept)"
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            before, now = now, time.monotonic()
            right = (scores.argmax(dim=1) == labels).float().mean().item()
            progress = _after(progress, loss.item(), right, now - before)
            tell(wanted.done(progress), progress, len(labels) / (now - before))
            if now - kept_at >= wanted.checkpoint_every:
                kept_at = now
                Checkpoint.take(progress, kept, optimizer).write(path, settings)
    return progress


def _one_cycle(done: float) -> float:
    """The share of the largest learning rate: up in a line, then down along half a cosine (after Smith, 2018)."""
    if done < _WARM_UP:
        return (done + 0.01) / (_WARM_UP + 0.01)
    return (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def _batch(data: _Data, step: int, wanted: Pretraining) -> tuple[Tensor, Tensor]:
    """The step's pictures, each moved by up to four pixels and perhaps mirrored, and their labels.

    A function of seed and step alone; every picture comes once an epoch.
    """
    steps = max(1, data.count // wanted.batch)
    epoch, number = divmod(step, steps)
    order = np.random.default_rng((wanted.seed, epoch)).permutation(data.count)
    rows = torch.from_numpy(order[number * wanted.batch : (number + 1) * wanted.batch])
    draw = np.random.default_rng((wanted.seed, epoch, number))
    moved = torch.from_numpy(draw.integers(0, 2 * _PADDING + 1, (2, len(rows), 1)))
    padded = functional.pad(data.pictures[rows].float(), (_PADDING,) * 4, mode="reflect")
    along = torch.arange(wanted.side)
    columns = along + moved[1]
    mirrored = torch.from_numpy(draw.random(len(rows)) < 1 / 2)
    columns[mirrored] = columns[mirrored].flip(1)
    picture = torch.arange(len(rows))[:, None, None]
    # Indices apart from the slice put the channels last, where the network wants them in memory.
    cropped = padded.permute(0, 2, 3, 1)[picture, (along + moved[0])[:, :, None], columns[:, None, :]]
    return _normalised(cropped.permute(0, 3, 1, 2)), data.labels[rows]


def _normalised(pictures: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (cifar.MEAN, cifar.DEVIATION))
    return ((pictures / 255 - mean) / deviation).contiguous(memory_format=torch.channels_last)


def _after(progress: Progress, loss: float, right: float, seconds: float) -> Progress:
    weight = max(1 - _MEMORY, 1 / (progress.step + 1))
    return replace(
        progress,
        step=progress.step + 1,
        seconds=progress.seconds + seconds,
        loss=progress.loss + weight * (loss - progress.loss),
        agreement=progress.agreement + weight * (right - progress.agreement),
    )


@torch.inference_mode()
def _accuracy(network: cifar.CifarResNet, data: _Data) -> float:
    network.eval()
    right = 0
    for first in range(0, data.count, _AT_ONCE):
        part = data.rows(slice(first, first + _AT_ONCE))
        right += int((network(_normalised(part.pictures.float())).argmax(dim=1) == part.labels).sum())
    return right / data.count
