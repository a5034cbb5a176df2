"""The embedding of a picture that a content-aware scheduler decides on."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["embedding"]


def embedding(hidden: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the spatial mean (batch, width) of maps (batch, width, rows, columns) or tokens (batch, tokens, width)."""
    result: NDArray[np.float32] = hidden.mean(axis=(2, 3) if hidden.ndim == 4 else 1)
    return result
