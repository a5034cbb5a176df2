"""Device selection and compute precision for training."""

import contextlib

import torch
from torch import Tensor

from adainf.engines import devices
from adainf.training.ranks import Ranks

__all__ = ["chosen", "half", "uploaded"]


def chosen(name: str | None, ranks: Ranks) -> torch.device:
    """Return the device named `cpu`, `cuda` or `cuda:1`; None selects a GPU if one is available.

    With None or `cuda`, each process takes the GPU of its rank. Raises InvalidInputError on any other name, and
    UnavailableError if the GPU does not exist.
    """
    device = devices.place(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    return ranks.device if device.type == "cuda" and name in (None, "cuda") else device


def half(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return a context in which a GPU computes convolutions and matrix products in bfloat16.

    Weights and sums stay in float32. A CPU computes everything in float32.
    """
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def uploaded(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on `device`.

    Transfers to a GPU are asynchronous, through pinned memory.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)
