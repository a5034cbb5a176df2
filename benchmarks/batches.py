"""Many cameras at once: does a batch of mixed branches take what its parts' MACs say?

    python benchmarks/batches.py [--seconds 15]

Eight pictures of one resolution, two along each of four branches, beside eight along the full one, in turn, so that a
busy moment of the box hits both. Exits with 1 where a limit is missed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

from adainf.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
from tables import Figure, finish, limits

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.backbones.macs import branch_space
from adainf.branch import Branch
from adainf.engines.torch import TorchEngine

__all__ = ["figures"]

_SHARES = (1.0, 0.75, 0.5, 0.25)
_OF_EACH = 2
_FEWEST_ROUNDS = 3
_LIMIT = 1.1
_LABELS = ("a person", "a dog", "a parcel", "an empty doorway")
NETWORKS = ("openclip/ViT-B-32", "cifar/resnet18")


def figures(seconds: float = 15.0) -> list[Figure]:
    """Of each network; seconds: for each."""
    return [_figure(name, seconds) for name in NETWORKS]


def _figure(name: str, seconds: float) -> Figure:
    """The time of a mixed batch, to the share of a full batch's time that its MACs are."""
    labels = _LABELS if name.startswith("openclip/") else ()
    backbone = backbones.load(name, Options(weights=RANDOM, labels=labels))
    space = branch_space(backbone, [])
    near = [min(space, key=lambda branch: abs(space.fraction(branch) - share)) for share in _SHARES]
    mixed = [branch for branch in near for _ in range(_OF_EACH)]
    full = [space.full] * len(mixed)
    share = sum(space.fraction(branch) for branch in mixed) / len(mixed)
    engine = TorchEngine(backbone, "cpu")
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    inputs = [engine.prepare(picture, space.native_resolution) for _ in mixed]
    ratios: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(ratios) <= _FEWEST_ROUNDS:
        ratios.append(_seconds(engine, inputs, mixed) / (share * _seconds(engine, inputs, full)))
    what = f"{name}: a batch of {len(mixed)} along branches of {', '.join(f'{space.fraction(b):.0%}' for b in near)}"
    return Figure(f"{what}: its time to its MACs' share of a full batch's", statistics.median(ratios[1:]), _LIMIT)


def _seconds(engine: TorchEngine, inputs: Sequence[object], branches: Sequence[Branch]) -> float:
    begun = time.perf_counter()
    engine.run(inputs, branches)  # type: ignore[arg-type]  # what `prepare` gave
    return time.perf_counter() - begun


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each network")
    return finish("batches.py", [limits(figures(parser.parse_args().seconds))], None)


if __name__ == "__main__":
    sys.exit(main())
