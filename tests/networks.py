"""Networks for the tests: random weights that make each part of a network matter."""

from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from adainf.backbones import RANDOM, Backbone, Options, load

Network = TypeVar("Network", bound=nn.Module)

LABELS = ("a cat", "dog", "the moon")


@cache
def network(name: str) -> Backbone:
    """`name` with random weights, built once: do not change it."""
    labels = LABELS if name.startswith("openclip/") else ()
    return stir(load(name, Options(weights=RANDOM, labels=labels)))


def stir(network: Network) -> Network:
    """Give norms, biases and positions values of their own: as initialised, leaving them out would go unseen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.8, 1.2, generator=generator)
                module.weight.uniform_(0.8, 1.2, generator=generator)
        for name, parameter in network.named_parameters():
            if name.endswith(".gamma"):  # how much of a block is added: next to nothing at first
                parameter.uniform_(0.1, 0.2, generator=generator)
            elif name.endswith("bias") or any(part in name for part in ("token", "prefix", "pos")):
                parameter.normal_(0, 0.2, generator=generator)
    return network


def pictures(count: int, resolution: int) -> Tensor:
    """Noise (count, 3, resolution, resolution), the same each time."""
    return torch.randn(count, 3, resolution, resolution, generator=torch.Generator().manual_seed(2))
