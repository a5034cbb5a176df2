"""Does time follow MACs? Speed-up of branches against what their MACs promise.

Prints a row for each branch and exits with 1 where a limit is missed. Branches take turns in rounds of random order,
and a branch is compared with the full branch of its own round, so that a busy moment of the box hits both.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pages import put

from adainf.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.backbones.macs import branch_space
from adainf.branch import Branch, BranchSpace
from adainf.engines import Engine
from adainf.engines.exports import Loaded
from adainf.engines.onnx import OnnxEngine
from adainf.engines.processor import processor_name, usable_processors
from adainf.engines.torch import TorchEngine

_PAGE = "performance.md"
_SHARES = (0.75, 0.5, 0.25)
_FEWEST_ROUNDS = 3
_LABELS = ("person", "dog", "cat", "car", "bicycle", "bus", "parcel", "ladder", "bird", "empty doorway")


@dataclass(frozen=True)
class Subject:
    """A network to measure. limit: the least measured speed-up, relative to what its MACs promise."""

    name: str
    limit: float
    resolutions: tuple[int, ...] = ()

    def branches(self, space: BranchSpace) -> list[Branch]:
        """The full branch, branches near each share of its MACs by blocks, by resolution, and by both."""
        native = [branch for branch in space if branch.resolution == space.native_resolution]
        smaller = [branch for branch in space if branch.resolution in self.resolutions]
        chosen = [space.full, *_nearest(space, native), *(Branch(r, space.full.keep) for r in self.resolutions)]
        if smaller:
            mixed = [branch for branch in smaller if not all(branch.keep)]
            chosen += _nearest(space, mixed)
        return list(dict.fromkeys(chosen))


SUBJECTS = (
    Subject("openclip/ViT-B-32", limit=0.9),
    Subject("cifar/resnet18", limit=0.9),
    Subject("timm/tf_efficientnet_lite0", limit=0.75, resolutions=(192, 160, 128)),
)


def _nearest(space: BranchSpace, branches: list[Branch]) -> Iterator[Branch]:
    for share in _SHARES:
        yield min(branches, key=lambda branch: abs(space.fraction(branch) - share))


@dataclass(frozen=True)
class Spread:
    """A median with the 10th and 90th percentile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        low, *_, high = statistics.quantiles(values, n=10)
        return cls(statistics.median(values), low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def _rounds(engine: Engine, branches: list[Branch], seconds: float, order: random.Random) -> list[dict[Branch, float]]:
    """Milliseconds of one frame along each branch, a dictionary a round."""
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    inputs = {branch: engine.prepare(picture, branch.resolution) for branch in branches}
    engine.warm_up(branches)
    end = time.monotonic() + seconds
    rounds: list[dict[Branch, float]] = []
    while time.monotonic() < end or len(rounds) < _FEWEST_ROUNDS:
        round_: dict[Branch, float] = {}
        for branch in order.sample(branches, len(branches)):
            times = [_milliseconds(engine, inputs[branch], branch) for _ in range(4)]
            round_[branch] = statistics.median(times[1:])  # the first one brings the weights into the caches
        rounds.append(round_)
    return rounds


def _milliseconds(engine: Engine, prepared: object, branch: Branch) -> float:
    started = time.perf_counter()
    engine.run([prepared], [branch])
    return 1e3 * (time.perf_counter() - started)


def measure(subject: Subject, seconds: float, cache: Path) -> tuple[list[str], list[str]]:
    """The table's rows for one network, and which limits it missed."""
    backbone = backbones.load(subject.name, Options(weights=RANDOM, labels=_labels(subject)))
    space = branch_space(backbone, subject.resolutions)
    branches = subject.branches(space)
    order = random.Random(0)  # noqa: S311
    onnx = _rounds(OnnxEngine(Loaded(backbone), cache=cache), branches, seconds, order)
    torch = _rounds(TorchEngine(backbone, "cpu"), branches, seconds / 2, order)
    rows, missed = [], []
    for branch in branches:
        promised = 1 / space.fraction(branch)
        times = [Spread.of([round_[branch] for round_ in rounds]) for rounds in (onnx, torch)]
        kept = [
            Spread.of([round_[space.full] / round_[branch] / promised for round_ in rounds]) for rounds in (onnx, torch)
        ]
        if kept[0].median < subject.limit:
            missed.append(f"{subject.name} {branch}: {kept[0].median:.2f} is below {subject.limit}")
        cells = [subject.name, f"`{branch}`", f"{100 * space.fraction(branch):.1f} %", f"{promised:.2f}"]
        if branch == space.full:
            cells += [str(times[0]), "", "", str(times[1]), ""]
        else:
            cells += [str(times[0]), str(kept[0]), f"≥ {subject.limit}", str(times[1]), f"{kept[1].median:.2f}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows, missed


def _labels(subject: Subject) -> tuple[str, ...]:
    return _LABELS if subject.name.startswith("openclip/") else ()


def table(rows: Iterable[str]) -> str:
    """The measurement as Markdown, with what it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch"))
    return "\n".join(
        [
            f"{processor_name()}, {usable_processors()} threads; {packages}; {datetime.now(UTC):%Y-%m-%d}.",
            "Medians over rounds, 10th to 90th percentile in brackets.",
            "",
            "| network | branch | MACs | promised speed-up | onnx, ms | measured / promised | limit "
            "| torch, ms | measured / promised |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows,
        ]
    )


def main() -> int:
    """Measure, print, and write the table where asked; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"rewrite the table in {_PAGE}")
    parser.add_argument("--seconds", type=float, default=45, help="for each network under ONNX Runtime; half for torch")
    parser.add_argument("--only", metavar="NETWORK", help="one of " + ", ".join(subject.name for subject in SUBJECTS))
    arguments = parser.parse_args()
    if arguments.only and arguments.write:
        parser.error("--write takes the whole table")
    subjects = [subject for subject in SUBJECTS if arguments.only in (None, subject.name)]
    if not subjects:
        parser.error(f"--only {arguments.only!r}: not among the networks measured here")
    rows: list[str] = []
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as cache:
        for subject in subjects:
            of_subject, missed_by_it = measure(subject, arguments.seconds, Path(cache))
            print(*of_subject, sep="\n", flush=True)
            rows += of_subject
            missed += missed_by_it
    if arguments.write:
        put(_PAGE, "benchmarks/branches.py", table(rows))
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
