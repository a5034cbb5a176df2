"""Published results of other per-picture block schedulers, with their sources, for comparison in plots."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True, slots=True)
class Published:
    """A published point of another system, on its own network.

    macs_fraction: mean MACs per picture (FLOPs, if the source gives those), a fraction of the full network's. share:
    top-1, a share of the full network's.
    """

    system: str
    network: str
    macs_fraction: float
    share: float
    source: str

    @property
    def label(self) -> str:
        """The label in a plot's legend."""
        return f"{self.system}, {self.network}"


_ADAINF = "Xu et al., ES-FoMo-II at ICML 2024"
_BLOCKDROP = "Wu et al., CVPR 2018, abstract: a fifth faster on average at the same 76.4 %"
_SKIPNET = "Wang et al., ECCV 2018, section 4.1: computation reduced at the full network's accuracy"
_LOGS = f"{_ADAINF}, the authors' logs: 66.1 % with all MACs; 47.0, 29.0, 15.0 % at budgets of 0.67, 0.50, 0.33"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "cifar-100": (
        Published("AdaInf, LoRA", "ResNet-18", 0.60, 1.0, _ADAINF),
        Published("AdaInf, full", "ResNet-18", 0.40, 1.0, _ADAINF),
        Published("SkipNet", "ResNet-110", 0.63, 1.0, _SKIPNET),
    ),
    "imagenet": (
        Published("AdaInf, LoRA", "CLIP ViT-B/32", 0.67, 47.0 / 66.1, _LOGS),
        Published("AdaInf, LoRA", "CLIP ViT-B/32", 0.50, 29.0 / 66.1, _LOGS),
        Published("AdaInf, LoRA", "CLIP ViT-B/32", 0.33, 15.0 / 66.1, _LOGS),
        Published("BlockDrop", "ResNet-101", 0.80, 1.0, _BLOCKDROP),
        Published("SkipNet", "ResNet-101", 0.70, 1.0, _SKIPNET),
    ),
}
"""Published points by data set."""
