"""What the scheduler, the engines and training know of a network: stem → blocks → head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adainf.branch import Branch
from adainf.preprocessing import Preprocessing

__all__ = ["Backbone", "Block", "Classes"]


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block, and what stays of it when it is skipped.

    shortcut: the path around the block, an `nn.Identity` where input and output have the same shape, the
    block's own (projecting) shortcut where they have not; None where there is no way around.
    """

    module: nn.Module
    shortcut: nn.Module | None


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a head in the order of its scores: readable names, and ids such as WordNet's where known."""

    names: tuple[str, ...]
    ids: tuple[str, ...] = ()


class Backbone(nn.Module):
    """A pretrained network as stem → blocks → head.

    The family's own modules are used untouched; only the walk over them is ours, so that a skipped block is not
    executed and the full branch is the original network.
    """

    def __init__(
        self,
        name: str,
        *,
        stem: nn.Module,
        blocks: Sequence[Block],
        head: nn.Module,
        preprocessing: Preprocessing,
        classes: Classes,
        resolution_step: int,
    ) -> None:
        """resolution_step: resolutions the stem takes are its multiples (a ViT's patch; a stride that pays)."""
        super().__init__()
        self.name = name
        self.stem = stem
        self.blocks = nn.ModuleList(block.module for block in blocks)
        self.shortcuts = nn.ModuleList(block.shortcut or nn.Identity() for block in blocks)
        self.head = head
        self.preprocessing = preprocessing
        self.classes = classes
        self.resolution_step = resolution_step
        # The first block always runs: the scheduler reads its output.
        self.droppable = tuple(index > 0 and block.shortcut is not None for index, block in enumerate(blocks))
        self.eval()
        self.requires_grad_(False)

    @property
    def native_resolution(self) -> int:
        """The resolution of the full branch, pixels a side."""
        return self.preprocessing.size

    @property
    def full(self) -> Branch:
        """Every block at the native resolution."""
        return Branch(self.native_resolution, (True,) * len(self.blocks))

    def forward(self, images: Tensor, keep: Sequence[bool] | None = None) -> Tensor:
        """Scores (batch, classes) before softmax of images (batch, 3, resolution, resolution).

        keep: which blocks run, the same for each image; None means all.
        """
        hidden = self.stem(images)
        for index in range(len(self.blocks)):
            hidden = self.step(index, hidden, keep is None or keep[index])
        return self.scores(hidden)

    def step(self, index: int, hidden: Tensor, kept: bool) -> Tensor:
        """`hidden` after block `index`, or after its shortcut where it is skipped."""
        result: Tensor = self.blocks[index](hidden) if kept else self.shortcuts[index](hidden)
        return result

    def scores(self, hidden: Tensor) -> Tensor:
        """Scores (batch, classes) of what came out of the last block."""
        result: Tensor = self.head(hidden)
        return result

    def forward_each(self, images: Tensor, keeps: Sequence[Sequence[bool]]) -> Tensor:
        """Scores (batch, classes) of images of one resolution, each along its own blocks.

        Each block runs at most once, on the images that keep it.
        """
        hidden = self.stem(images)
        for index in range(len(self.blocks)):
            kept = [position for position, keep in enumerate(keeps) if keep[index]]
            if len(kept) in (0, len(keeps)):
                hidden = self.step(index, hidden, bool(kept))
                continue
            skipped = sorted(set(range(len(keeps))) - set(kept))
            order = torch.tensor(kept + skipped, device=hidden.device)
            through = self.step(index, hidden[order[: len(kept)]], True)
            around = self.step(index, hidden[order[len(kept) :]], False)
            hidden = torch.cat([through, around])[order.argsort()]
        return self.scores(hidden)
