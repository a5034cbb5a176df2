"""Counting multiply-accumulate operations (MACs) of each part of a backbone."""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adainf.backbones.base import Backbone
from adainf.base.errors import InvalidInputError, one_line
from adainf.branch import REFERENCE, BranchSpace, PartMacs

__all__ = ["branch_space", "count"]


def count(call: Callable[[], object]) -> int:
    """Return the MACs of `call`, whose tensors must be on the meta device, as fused CPU kernels hide attention."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return int(counter.get_total_flops()) // 2


def branch_space(backbone: Backbone, resolutions: Iterable[int] = (), network: str = REFERENCE) -> BranchSpace:
    """Return every branch of `backbone` at these resolutions and its native one, with the MACs of each part.

    network: what the branches name it. Raises InvalidInputError on a resolution that the stem does not support.
    """
    on_meta = _on_meta(backbone)
    distinct = sorted({*resolutions, backbone.native_resolution})
    return BranchSpace(
        backbone.native_resolution,
        backbone.droppable,
        {resolution: _part_macs(on_meta, resolution) for resolution in distinct},
        network,
    )


def _on_meta(backbone: Backbone) -> Backbone:
    copied = copy.copy(backbone)
    copied._modules = dict(backbone._modules)  # noqa: SLF001
    for name, part in backbone.named_children():
        copied._modules[name] = _part_on_meta(part)  # noqa: SLF001
    return copied


def _part_on_meta(part: nn.Module) -> nn.Module:
    tensors = [*part.parameters(), *part.buffers()]
    # Copy without reading or sharing any storage: deepcopy takes an empty meta tensor for each tensor.
    memo: dict[int, object] = {
        id(tensor): (
            nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=False)
            if isinstance(tensor, nn.Parameter)
            else torch.empty_like(tensor, device="meta")
        )
        for tensor in tensors
    }
    return copy.deepcopy(part, memo)


def _part_macs(backbone: Backbone, resolution: int) -> PartMacs:
    step = backbone.resolution_step
    # Accept the native resolution even if it is no multiple, such as 260 px.
    if resolution < step or (resolution % step and resolution != backbone.native_resolution):
        raise InvalidInputError(f"resolution {resolution}: {backbone.name} takes multiples of {step}")
    try:
        return _walked(backbone, resolution)
    except RuntimeError as error:  # some networks pool their smallest maps to nothing below some size
        raise InvalidInputError(
            f"resolution {resolution}: {backbone.name} cannot run at it ({one_line(error, 120)})"
        ) from None


def _walked(backbone: Backbone, resolution: int) -> PartMacs:
    hidden = torch.empty(1, 3, resolution, resolution, device="meta")
    stem, hidden = _counted(backbone.stem, hidden)
    blocks, shortcuts = [], []
    for block, shortcut, may_skip in zip(backbone.blocks, backbone.shortcuts, backbone.droppable, strict=True):
        around = _counted(shortcut, hidden)[0] if may_skip else 0
        through, hidden = _counted(block, hidden)
        blocks.append(through)
        shortcuts.append(around)
    head, _ = _counted(backbone.head, hidden)
    return PartMacs(stem, tuple(blocks), tuple(shortcuts), head)


def _counted(part: nn.Module, hidden: Tensor) -> tuple[int, Tensor]:
    outputs: list[Tensor] = []
    macs = count(lambda: outputs.append(part(hidden)))
    return macs, outputs[0]
