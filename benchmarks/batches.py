"""Many cameras at once: do pictures along mixed branches take what their MACs say?

    python benchmarks/batches.py [--seconds 10] [--torch]

Eight pictures of one resolution, two along each of four branches, beside eight along the full one, in turn, so that a
busy moment of the box hits both. ONNX Runtime runs them one after the other; PyTorch as one batch, each block once, on
the pictures that keep it (--torch); on processors it packs a block's weights anew at each call, for however many
pictures, so there a mixed batch takes more than its share. Exits with 1 where a limit is missed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
from tables import Figure, finish, limits

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.backbones.macs import branch_space
from adainf.branch import REFERENCE, Branch, BranchSpace
from adainf.engines import Engine
from adainf.engines.exports import Loaded
from adainf.engines.onnx import OnnxEngine
from adainf.engines.torch import TorchEngine

__all__ = ["figures"]

_SHARES = (1.0, 0.75, 0.5, 0.25)
_OF_EACH = 2
_FEWEST_ROUNDS = 3
_LIMIT = 1.1
_LABELS = ("a person", "a dog", "a parcel", "an empty doorway")
NETWORKS = ("openclip/ViT-B-32", "cifar/resnet18")


def figures(seconds: float = 10.0, *, torch_too: bool = False) -> list[Figure]:
    """Return the figures of each network with ONNX Runtime, the daemon's engine on CPUs.

    seconds: per network. torch_too: measure PyTorch too.
    """
    found: list[Figure] = []
    for name in NETWORKS:
        labels = _LABELS if name.startswith("openclip/") else ()
        backbone = backbones.load(name, Options(weights=RANDOM, labels=labels))
        space = branch_space(backbone, [])
        with tempfile.TemporaryDirectory() as cache:
            engines: list[Engine] = [OnnxEngine({REFERENCE: Loaded(backbone)}, cache=Path(cache))]
            if torch_too:
                engines.append(TorchEngine({REFERENCE: backbone}, "cpu"))
            found += [_figure(name, engine, space, seconds) for engine in engines]
    return found


def _figure(name: str, engine: Engine, space: BranchSpace, seconds: float) -> Figure:
    """Return the time of mixed branches, divided by the full branches' time scaled to the same MACs."""
    native = [branch for branch in space if branch.resolution == space.native_resolution]
    near = [min(native, key=lambda branch: abs(space.fraction(branch) - share)) for share in _SHARES]
    mixed = [branch for branch in near for _ in range(_OF_EACH)]
    full = [space.full] * len(mixed)
    share = sum(space.fraction(branch) for branch in mixed) / len(mixed)
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    inputs = [engine.prepare(picture, space.native_resolution) for _ in mixed]
    ratios: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(ratios) <= _FEWEST_ROUNDS:
        ratios.append(_seconds(engine, inputs, mixed) / (share * _seconds(engine, inputs, full)))
    shares = ", ".join(f"{space.fraction(branch):.0%}" for branch in near)
    what = f"{name}, {engine.name}: {len(mixed)} pictures along branches of {shares}: time to their MACs' share of full"
    return Figure(what, statistics.median(ratios[1:]), _LIMIT)


def _seconds(engine: Engine, inputs: Sequence[Any], branches: Sequence[Branch]) -> float:
    begun = time.perf_counter()
    engine.run(inputs, branches)
    return time.perf_counter() - begun


def main() -> int:
    """Run the benchmark and print it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each network and engine")
    parser.add_argument("--torch", action="store_true", help="PyTorch on the processors too")
    arguments = parser.parse_args()
    found = figures(arguments.seconds, torch_too=arguments.torch)
    return finish("batches.py", [limits(found)], None)


if __name__ == "__main__":
    sys.exit(main())
