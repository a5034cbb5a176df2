"""Does time follow MACs? A branch's share of the full branch's time, beside its share of the MACs.

    python benchmarks/branches.py [--only NETWORK] [--seconds 40] [--write]

Branches take turns in rounds of random order, and a branch is compared with the full branch of its own round, so that
a busy moment of the box hits both. Of the shipped profile every branch from a fifth of the MACs on is measured, whether
it costs anything to change the branch from one frame to the next, and what the paper's scheduler costs. Exits with 1
where a limit is missed.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
from adainfd.model.selection import wanted_branches
from tables import Figure, Table, finish, limits

from adainf import backbones, shipped
from adainf.backbones import RANDOM, Options
from adainf.backbones.macs import branch_space
from adainf.branch import REFERENCE, Branch, BranchSpace
from adainf.engines import Engine
from adainf.engines.exports import Loaded
from adainf.engines.onnx import OnnxEngine
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.training.recipes.block_scheduler import Scheduler

_PAGE = "performance.md"
_SHARES = (0.75, 0.5, 0.25)
_FEWEST_ROUNDS = 3
_LEAST_SHARE = 0.2
_ALTERNATIONS, _IN_A_ROW = 10, 11
_DECISIONS, _DECIDED_WITHIN = 200, 0.5
_LABELS = ("person", "dog", "cat", "car", "bicycle", "bus", "parcel", "ladder", "bird", "empty doorway")


@dataclass(frozen=True)
class Subject:
    """A network to measure."""

    name: str
    resolutions: tuple[int, ...] = ()

    def branches(self, space: BranchSpace) -> list[Branch]:
        """Return the full branch, and branches near each share of its MACs by blocks, by resolution, and by both."""
        native = [branch for branch in space if branch.resolution == space.native_resolution]
        smaller = [branch for branch in space if branch.resolution in self.resolutions]
        chosen = [space.full, *_nearest(space, native), *(Branch(r, space.full.keep) for r in self.resolutions)]
        if smaller:
            mixed = [branch for branch in smaller if not all(branch.keep)]
            chosen += _nearest(space, mixed)
        return list(dict.fromkeys(chosen))


SUBJECTS = (
    Subject("openclip/ViT-B-32"),
    Subject("cifar/resnet18"),
    Subject("timm/tf_efficientnet_lite0", resolutions=(192, 160, 128)),
)
ABOVE_MACS = 0.05
"""By how much a share of the time may exceed the share of the MACs."""
SHIPPED = "efficientnet-lite0"


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
    """Return each round's milliseconds for one frame, by branch."""
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    inputs = {branch: engine.prepare(picture, branch.resolution) for branch in branches}
    engine.warm_up(branches)
    end = time.monotonic() + seconds
    rounds: list[dict[Branch, float]] = []
    while time.monotonic() < end or len(rounds) < _FEWEST_ROUNDS:
        round_: dict[Branch, float] = {}
        for branch in order.sample(branches, len(branches)):
            times = [_milliseconds(engine, inputs[branch], branch) for _ in range(7)]
            round_[branch] = statistics.median(times[2:])  # the first runs load the weights into the caches
        rounds.append(round_)
    return rounds


def _milliseconds(engine: Engine, prepared: object, branch: Branch) -> float:
    started = time.perf_counter()
    engine.run([prepared], [branch])
    return 1e3 * (time.perf_counter() - started)


def measure(subject: Subject, seconds: float, cache: Path) -> tuple[list[tuple[str, ...]], list[Figure]]:
    """Return the rows and figures of one network.

    seconds: for ONNX Runtime; PyTorch gets half.
    """
    backbone = backbones.load(subject.name, Options(weights=RANDOM, labels=_labels(subject)))
    space = branch_space(backbone, subject.resolutions)
    branches = subject.branches(space)
    order = random.Random(0)  # noqa: S311
    onnx = _rounds(OnnxEngine({REFERENCE: Loaded(backbone)}, cache=cache), branches, seconds, order)
    torch = _rounds(TorchEngine({REFERENCE: backbone}, "cpu"), branches, seconds / 2, order)
    rows, figures = [], []
    for branch in branches:
        fraction = space.fraction(branch)
        times = [str(Spread.of([round_[branch] for round_ in rounds])) for rounds in (onnx, torch)]
        shares = [_share(rounds, branch, space.full) for rounds in (onnx, torch)]
        rows.append(
            (subject.name, f"`{branch}`", f"{fraction:.3f}", times[0], f"{shares[0]:.3f}", times[1], f"{shares[1]:.3f}")
        )
        if branch != space.full:
            figures.append(
                Figure(f"{subject.name} {branch}: share of the time", shares[0], fraction + ABOVE_MACS, form="{:.3f}")
            )
    return rows, figures


def _share(rounds: list[dict[Branch, float]], branch: Branch, full: Branch) -> float:
    return statistics.median(round_[branch] / round_[full] for round_ in rounds)


def measure_shipped(seconds: float, cache: Path) -> list[Figure]:
    """Return the figures of the shipped profile's branches from a fifth of the MACs up."""
    profile = Profile.read(shipped.find("profiles", SHIPPED, ".json")).alone(REFERENCE)
    space = profile.space.reference
    branches = [Branch.parse(measured.branch) for measured in profile.branches]
    branches = [branch for branch in branches if space.fraction(branch) >= _LEAST_SHARE]
    backbone = backbones.load(profile.reference.backbone, Options(weights=RANDOM))
    engine = OnnxEngine({REFERENCE: Loaded(backbone)}, cache=cache, sessions=len(branches))
    # Holds only the branches that the daemon keeps ready: idle sessions too occupy threads and memory.
    wanted = wanted_branches(profile)
    held = OnnxEngine({REFERENCE: Loaded(backbone)}, cache=cache)
    single = OnnxEngine({REFERENCE: Loaded(backbone)}, cache=cache, threads=1)
    for alternating in (held, single):
        alternating.warm_up(wanted)
    rounds = _rounds(engine, branches, seconds, random.Random(0))  # noqa: S311
    above = [_share(rounds, branch, space.full) - space.fraction(branch) for branch in branches]
    over = sum(more > ABOVE_MACS for more in above)
    what = f"{SHIPPED}, {len(branches)} branches: share of the time less share of the MACs"
    return [
        Figure(f"{what}, median", statistics.median(above), ABOVE_MACS, form="{:.3f}"),
        Figure(f"{what}, most", max(above), ABOVE_MACS, form="{:.3f}"),
        Figure(f"{SHIPPED}: branches above that limit", over, 0, form="{:.0f}"),
        Figure("alternating between three branches / each alone", _alternating(held, space, wanted), 1.02),
        Figure("the same with one thread", _alternating(single, space, wanted), 1.02),
        *_deciding(held, space),
    ]


def _deciding(engine: OnnxEngine, space: BranchSpace) -> list[Figure]:
    """Return the cost of the paper's scheduler: its decision after the first block, as a share of the full branch."""
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    prepared = engine.prepare(picture, space.native_resolution)
    width = len(engine.look(prepared, space.native_resolution).embedding)
    scheduler = Scheduler(width, sum(space.droppable), seed=0).frozen("hard", space)
    decide, shares = scheduler.at(_DECIDED_WITHIN), []
    for _ in range(_DECISIONS):
        full = _milliseconds(engine, prepared, space.full)
        seen = engine.look(prepared, space.native_resolution)
        begun = time.perf_counter()
        decide(seen.embedding)
        shares.append(1e3 * (time.perf_counter() - begun) / full)
        engine.complete(seen, space.full.keep)
    what = "a decision of the paper's scheduler: share of the full branch's"
    return [
        Figure(f"{what} time", statistics.median(shares), 0.02, form="{:.3f}"),
        Figure(f"{what} MACs", scheduler.macs / space.macs(space.full), 0.02, form="{:.4f}"),
    ]


def _alternating(engine: Engine, space: BranchSpace, branches: list[Branch]) -> float:
    """Return the ratio of the time of three alternating branches to that of each branch run on its own."""
    three = [min(branches, key=lambda branch: abs(space.fraction(branch) - share)) for share in (1.0, 0.5, 0.25)]
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    inputs = {branch: engine.prepare(picture, branch.resolution) for branch in three}
    ratios = []
    for _ in range(_ALTERNATIONS):
        turns = [[_milliseconds(engine, inputs[branch], branch) for branch in three] for _ in range(_IN_A_ROW)]
        alone = [[_milliseconds(engine, inputs[branch], branch) for _ in range(_IN_A_ROW)] for branch in three]
        in_turn = sum(statistics.median(times) for times in zip(*turns[1:], strict=True))
        ratios.append(in_turn / sum(statistics.median(times[1:]) for times in alone))
    return statistics.median(ratios)


def _labels(subject: Subject) -> tuple[str, ...]:
    return _LABELS if subject.name.startswith("openclip/") else ()


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {_PAGE}")
    parser.add_argument("--seconds", type=float, default=40, help="for each network under ONNX Runtime; half for torch")
    parser.add_argument("--only", metavar="NETWORK", help="one of " + ", ".join(subject.name for subject in SUBJECTS))
    arguments = parser.parse_args()
    if arguments.only and arguments.write:
        parser.error("--write takes the whole table")
    subjects = [subject for subject in SUBJECTS if arguments.only in (None, subject.name)]
    if not subjects:
        parser.error(f"--only {arguments.only!r}: not among the networks measured here")
    rows: list[tuple[str, ...]] = []
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as cache:
        for subject in subjects:
            of_subject, limited = measure(subject, arguments.seconds, Path(cache))
            rows += of_subject
            figures += limited
        if not arguments.only:
            figures += measure_shipped(1.5 * arguments.seconds, Path(cache))
    headings = ("network", "branch", "MACs", "onnx, ms", "of the full", "torch, ms", "of the full")
    table = Table("Medians over rounds, 10th to 90th percentile", headings, rows)
    more = "; " + ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch"))
    return finish("branches.py", [table, limits(figures)], _PAGE if arguments.write else None, more)


if __name__ == "__main__":
    sys.exit(main())
