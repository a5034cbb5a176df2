"""Which network to choose: published accuracy, MACs, how much blocks can save, and processor time of the full branch.

    python benchmarks/networks.py [--only TEXT] [--rounds 15] [--write]

Accuracies are the publishers' own, at the named input size. MACs are counted, and times measured with random weights,
which cost the same: ONNX Runtime with one thread, whose processor time counts, so that other programs disturb it
little. Networks take turns in rounds.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from adainf.process.allocator import restart_with_tuned_allocator

if __name__ == "__main__":
    restart_with_tuned_allocator()

import numpy as np
from tables import Table, finish

from adainf import backbones
from adainf.backbones import RANDOM, Options
from adainf.backbones.macs import branch_space
from adainf.branch import BranchSpace
from adainf.engines.exports import Loaded
from adainf.engines.onnx import OnnxEngine

_PAGE = "../../docs/how-to/choose-networks.md"
_LABELS = ("a person", "a parcel", "an empty doorway")


@dataclass(frozen=True)
class Network:
    """A network with published weights.

    size: input side, pixels. top1: accuracy on ImageNet at that size, percent.
    """

    name: str
    weights: str
    size: int
    top1: float

    @property
    def backbone(self) -> str:
        """The name to load it by."""
        return f"{self.name}.{self.weights}" if self.name.startswith("timm/") else self.name


# results/results-imagenet.csv of huggingface/pytorch-image-models at commit aa4b585.
IMAGENET = (
    Network("timm/lcnet_050", "ra2_in1k", 224, 63.1),
    Network("timm/mobilenetv3_small_100", "lamb_in1k", 224, 67.6),
    Network("timm/lcnet_075", "ra2_in1k", 224, 68.8),
    Network("timm/efficientvit_b0", "r224_in1k", 224, 71.4),
    Network("timm/ghostnet_100", "in1k", 224, 74.0),
    Network("timm/lcnet_100", "ra2_in1k", 224, 72.1),
    Network("timm/ghostnetv3_100", "in1k", 224, 76.9),
    Network("timm/mobilenetv4_conv_small", "e2400_r224_in1k", 224, 73.8),
    Network("timm/mobilenetv3_large_100", "ra4_e3600_r224_in1k", 224, 76.3),
    Network("timm/mobilenetv3_large_100", "miil_in21k_ft_in1k", 224, 77.9),
    Network("timm/tf_efficientnet_lite0", "in1k", 224, 74.8),
    Network("timm/fbnetv3_b", "ra2_in1k", 224, 78.2),
    Network("timm/efficientvit_b1", "r224_in1k", 224, 79.3),
    Network("timm/mobilenetv4_conv_medium", "e500_r224_in1k", 224, 79.1),
    Network("timm/mobilenetv4_conv_medium", "e500_r256_in1k", 256, 79.9),
    Network("timm/mobilenetv4_hybrid_medium", "e500_r224_in1k", 224, 80.4),
    Network("timm/mobilenetv4_hybrid_medium", "ix_e550_r256_in1k", 256, 81.5),
    Network("timm/efficientvit_b2", "r224_in1k", 224, 82.2),
    Network("timm/efficientvit_b3", "r224_in1k", 224, 83.4),
    Network("timm/resnet50", "a1_in1k", 224, 80.4),
    Network("timm/vit_base_patch32_clip_224", "laion2b_ft_in12k_in1k", 224, 83.3),
    Network("timm/efficientvit_l1", "r224_in1k", 224, 84.5),
    Network("timm/mobilenetv4_hybrid_large", "ix_e600_r384_in1k", 384, 84.0),
    Network("timm/vit_base_patch16_224", "augreg2_in21k_ft_in1k", 224, 85.1),
)
# docs/openclip_results.csv of open_clip at commit 89fb801; for MobileCLIP the README of apple/ml-mobileclip at 4144bb1.
CLIP = (
    Network("openclip/MobileCLIP2-S0", "dfndr2b", 256, 71.5),
    Network("openclip/ViT-B-32", "openai", 224, 63.3),
    Network("openclip/ViT-B-32", "datacomp_xl_s13b_b90k", 224, 69.2),
    Network("openclip/MobileCLIP-S1", "datacompdr", 256, 72.6),
    Network("openclip/RN50", "openai", 224, 59.8),
    Network("openclip/ViT-B-32-256", "datacomp_s34b_b86k", 256, 72.8),
    Network("openclip/MobileCLIP2-S2", "dfndr2b", 256, 77.2),
    Network("openclip/ViT-B-16", "datacomp_xl_s13b_b90k", 224, 73.5),
    Network("openclip/ViT-L-14", "openai", 224, 75.5),
    Network("openclip/ViT-L-14", "datacomp_xl_s13b_b90k", 224, 79.2),
)


@dataclass(frozen=True)
class _Ready:
    network: Network
    space: BranchSpace
    engine: OnnxEngine

    @property
    def macs(self) -> int:
        """Of the full branch."""
        return self.space.macs(self.space.full)


def _ready(network: Network, cache: Path) -> _Ready:
    labels = _LABELS if network.name.startswith("openclip/") else ()
    backbone = backbones.load(network.backbone, Options(RANDOM, labels, size=network.size))
    engine = OnnxEngine(Loaded(backbone), threads=1, cache=cache)
    engine.warm_up([backbone.full])
    return _Ready(network, branch_space(backbone), engine)


def _milliseconds(ready: _Ready) -> float:
    full = ready.space.full
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    prepared = ready.engine.prepare(picture, full.resolution)
    ready.engine.run([prepared], [full])  # loads the weights into the caches
    started = time.thread_time()
    ready.engine.run([prepared], [full])
    return 1e3 * (time.thread_time() - started)


def measure(networks: Sequence[Network], rounds: int, title: str) -> Table:
    """Return the table of these networks, by ascending MACs."""
    order = random.Random(0)  # noqa: S311
    with tempfile.TemporaryDirectory() as cache:
        # Weights differ in their values only: those of one network and size cost the same.
        distinct = {(network.name, network.size): network for network in networks}
        ready = {key: _ready(network, Path(cache)) for key, network in distinct.items()}
        times: dict[tuple[str, int], list[float]] = {key: [] for key in ready}
        for _ in range(rounds):
            for key in order.sample(list(ready), len(ready)):
                times[key].append(_milliseconds(ready[key]))
    rows = []
    for network in sorted(networks, key=lambda one: ready[one.name, one.size].macs):
        space, macs = ready[network.name, network.size].space, ready[network.name, network.size].macs
        skipping = space.macs(space.cheapest_at(network.size))
        rows.append(
            (
                f"`{network.name}`",
                f"`{network.weights}`",
                str(network.size),
                f"{network.top1:.1f}",
                f"{macs / 1e6:,.0f}",
                f"{1 - skipping / macs:.0%}".replace("%", " %"),
                f"{statistics.median(times[network.name, network.size]):.1f}",
            )
        )
    headings = ("network", "weights", "px", "top-1, %", "MACs, M", "skippable", "processor, ms")
    return Table(title, headings, rows)


def main() -> int:
    """Run the benchmark, print the tables, write them if asked; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/how-to/choose-networks.md")
    parser.add_argument("--rounds", type=int, default=15, help="how often each network is timed")
    parser.add_argument("--only", metavar="TEXT", default="", help="only networks with this in their names")
    arguments = parser.parse_args()
    if arguments.only and arguments.write:
        parser.error("--write takes the whole tables")
    tables = []
    for title, listed in (("ImageNet's 1,000 classes", IMAGENET), ("Texts of your own", CLIP)):
        networks = [network for network in listed if arguments.only in network.backbone]
        if networks:
            tables.append(measure(networks, arguments.rounds, title))
    if not tables:
        parser.error(f"--only {arguments.only!r}: not among the networks measured here")
    more = "; " + ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "timm", "open_clip_torch"))
    return finish("networks.py", tables, _PAGE if arguments.write else None, more)


if __name__ == "__main__":
    sys.exit(main())
