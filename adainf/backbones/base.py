"""The view of a network that the scheduler, the engines and training share: stem → blocks → head.

The head turns the last block's output into pooled features, and a classifier turns these into scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adainf.branch import Branch
from adainf.preprocessing import Preprocessing

__all__ = ["Backbone", "Block", "Classes"]


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block, and the shortcut that remains when it is skipped.

    shortcut: an `nn.Identity` if input and output have the same shape, else the block's own projection; None if the
    block cannot be skipped.
    """

    module: nn.Module
    shortcut: nn.Module | None


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a head in the order of its scores: readable names, and ids such as WordNet's if known."""

    names: tuple[str, ...]
    ids: tuple[str, ...] = ()


class Backbone(nn.Module):
    """A pretrained network as stem → blocks → head.

    The family's modules are used unchanged. Only the loop over them is replaced, so that a skipped block is not
    executed and the full branch is the original network.
    """

    def __init__(
        self,
        name: str,
        *,
        stem: nn.Module,
        blocks: Sequence[Block],
        head: nn.Sequential,
        preprocessing: Preprocessing,
        classes: Classes,
        resolution_step: int,
    ) -> None:
        """Put the parts together.

        head: the last layer is the classifier; those before it turn the last block's output into pooled features
        (batch, width). resolution_step: supported resolutions are multiples of it (a ViT's patch size, or a worthwhile
        stride).
        """
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
        """The resolution of the full branch, in pixels per side."""
        return self.preprocessing.size

    @property
    def full(self) -> Branch:
        """The branch with every block at the native resolution."""
        return Branch(self.native_resolution, (True,) * len(self.blocks))

    def forward(self, images: Tensor, keep: Sequence[bool] | None = None) -> Tensor:
        """Return scores (batch, classes) before softmax of images (batch, 3, resolution, resolution).

        keep: the blocks that run, the same for each image; None means all.
        """
        hidden = self.stem(images)
        for index in range(len(self.blocks)):
            hidden = self.step(index, hidden, keep is None or keep[index])
        return self.scores(hidden)

    def step(self, index: int, hidden: Tensor, kept: bool) -> Tensor:
        """Return `hidden` after block `index`, or after its shortcut if the block is skipped."""
        result: Tensor = self.blocks[index](hidden) if kept else self.shortcuts[index](hidden)
        return result

    def scores(self, hidden: Tensor) -> Tensor:
        """Return scores (batch, classes) of the last block's output."""
        result: Tensor = self.head(hidden)
        return result

    def features(self, hidden: Tensor) -> Tensor:
        """Return pooled features (batch, width) of the last block's output, from which `classified` makes scores."""
        for layer in list(self.head)[:-1]:
            hidden = layer(hidden)
        return hidden

    def classified(self, features: Tensor) -> Tensor:
        """Return scores (batch, classes) of pooled features."""
        result: Tensor = self.head[-1](features)
        return result

    def forward_each(self, images: Tensor, keeps: Sequence[Sequence[bool]]) -> Tensor:
        """Return scores (batch, classes) of images of one resolution, each along its own blocks."""
        return self.classified(self.features_each(images, keeps))

    def features_each(self, images: Tensor, keeps: Sequence[Sequence[bool]]) -> Tensor:
        """Return pooled features (batch, width) of images of one resolution, each along its own blocks.

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
        return self.features(hidden)
