"""The device that a training runs on, and the precision of its computations."""

import contextlib

import torch
from torch import Tensor

from adainf.engines import devices
from adainf.training.ranks import Ranks

__all__ = ["chosen", "half", "uploaded"]


def chosen(name: str | None, ranks: Ranks) -> torch.device:
    """The device `cpu`, `cuda` or `cuda:1`; None takes a GPU where there is one. Processes take one GPU after another.

    Raises InvalidInputError on another name, and UnavailableError where there is no such GPU.
    """
    device = devices.place(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    return ranks.device if device.type == "cuda" and name in (None, "cuda") else device


def half(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context in which a GPU computes convolutions and products in bfloat16; weights and sums stay float32.

    A processor computes everything in float32.
    """
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def uploaded(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; the processor does not wait until a GPU has it."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)
