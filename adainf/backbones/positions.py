"""Position embeddings of vision transformers, interpolated to other resolutions."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PositionEmbedding"]


class PositionEmbedding(nn.Module):
    """A learned embedding of the prefix tokens and a square grid of patches, interpolated to other grids.

    Outside training, each grid's embedding is computed once and cached.
    """

    def __init__(self, embedding: nn.Parameter, prefix_tokens: int) -> None:
        """embedding: the network's parameter (prefix + side², width), optionally with a leading 1."""
        super().__init__()
        self.embedding = embedding
        self.prefix_tokens = prefix_tokens
        self._kept: dict[tuple[int, int, torch.device, torch.dtype], Tensor] = {}

    def forward(self, height: int, width: int) -> Tensor:
        """Return the embedding (1, prefix + height · width, width) for a grid of patches."""
        if torch.is_grad_enabled() and self.embedding.requires_grad:
            self._kept.clear()
            return self._resampled(height, width)
        key = (height, width, self.embedding.device, self.embedding.dtype)
        if key not in self._kept:
            self._kept[key] = self._resampled(height, width)
        return self._kept[key]

    def forget(self) -> None:
        """Clear the cache after a change of the embedding."""
        self._kept.clear()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._kept.clear()
        super()._load_from_state_dict(*args, **kwargs)

    def _resampled(self, height: int, width: int) -> Tensor:
        # timm takes seconds to import, and networks without such an embedding do without it.
        from timm.layers import resample_abs_pos_embed

        resampled: Tensor = resample_abs_pos_embed(
            self.embedding if self.embedding.ndim == 3 else self.embedding[None],
            new_size=[height, width],
            num_prefix_tokens=self.prefix_tokens,
        )
        return resampled
