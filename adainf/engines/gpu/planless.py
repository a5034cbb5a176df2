"""Convolutions without cuDNN plans: planning takes seconds for each shape of a depthwise convolution.

For one picture the kernels without plans are as fast; for sixteen they take 1.6 times as long
(docs/explanation/gpu.md).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["has_depthwise", "planless"]

Forward = Callable[[Tensor], Tensor]


def has_depthwise(network: nn.Module) -> bool:
    """Return whether planning takes long; convolutions without groups are planned within a tenth of a second."""
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())


def planless(forward: Forward) -> Forward:
    """Wrap a forward pass so that its convolutions need no cuDNN plan."""

    def without_plans(given: Tensor) -> Tensor:
        with _Planless():
            return forward(given)

    return without_plans


class _Planless(TorchFunctionMode):
    """A mode that replaces this thread's convolutions, with channels first in memory as these kernels require."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        if function is functional.conv2d:
            return _convolved(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _convolved(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    images, weight = images.contiguous(), weight.contiguous()
    if groups == 1 and weight.shape[2:] == (1, 1) and stride in (1, (1, 1)) and padding in (0, (0, 0)):
        product = (weight.flatten(1) @ images.flatten(2)).view(len(images), -1, *images.shape[2:])
        return product if bias is None else product + bias[:, None, None]
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled and groups == 1):
        return functional.conv2d(images, weight, bias, stride, padding, dilation, groups)
