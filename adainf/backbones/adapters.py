"""Adapters: what training changes of a backbone's weights, kept and stored apart from them."""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adainf.backbones.base import Backbone
from adainf.backbones.positions import PositionEmbedding
from adainf.backbones.weights import fingerprint
from adainf.base.errors import InvalidInputError, one_line
from adainf.profile import write_atomically
from adainf.run import Run

__all__ = ["Adapter", "Kind", "adapted", "attach", "weakened"]

Kind = Literal["lora", "full", "none"]

_STATISTICS = (".running_mean", ".running_var")
# Of running means: fifty batches and more are in them.
_MOMENTUM = 0.02
_DOWN, _UP, _WHOLE = ".lora_A.weight", ".lora_B.weight", ".delta"


class Adapter(ABC):
    """What is trained of a backbone.

    backbone: a copy of it that always runs with plain, adapted weights, so that it may be walked in any way.
    parameters: what an optimizer changes, by the names under which they are stored. statistics: batch norm's means and
    variances, where they move while it learns (`move_statistics`); none where they stay as the base has them.

    A step of training: run the backbone and call `backward` as often as wanted, then `gather`, the optimizer's step,
    and `apply`.
    """

    def __init__(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter]) -> None:
        self.backbone = backbone
        self.parameters = dict(parameters)
        self.statistics: dict[str, Tensor] = {}

    def move_statistics(self) -> None:
        """Let batch norm normalise by its batch from now on, and update the statistics that the adapter stores.

        Raises InvalidInputError where the backbone has no batch norm.
        """
        self.statistics = _statistics(self.backbone)
        if not self.statistics:
            raise InvalidInputError(f"batch norm 'train': {self.backbone.name} has no batch norm; it must be 'frozen'")
        for module in self.backbone.modules():
            if isinstance(module, _BatchNorm):
                module.train()
                module.momentum = _MOMENTUM

    @abstractmethod
    def gather(self) -> None:
        """Turn the gradients on the backbone's weights into gradients on the parameters."""

    @abstractmethod
    def apply(self) -> None:
        """Give the backbone the weights that belong to the parameters' values."""

    def state(self) -> dict[str, Tensor]:
        """The values of parameters and statistics."""
        return {name: tensor.detach() for name, tensor in (self.parameters | self.statistics).items()}

    def load(self, state: Mapping[str, Tensor], origin: object) -> None:
        """Take over what `state` gave; raises InvalidInputError, naming `origin`, where it does not fit."""
        if any(map(_is_statistic, state)):
            self.statistics = _statistics(self.backbone)
        kept = self.state()
        if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in kept.items()}:
            raise InvalidInputError(f"{origin}: its tensors do not fit {self.backbone.name}")
        for name, tensor in kept.items():
            tensor.copy_(state[name])
        self.apply()

    def save(self, path: Path) -> None:
        """Write parameters and statistics to a safetensors file, whole or not at all."""
        from safetensors.torch import save

        tensors = {name: value.cpu().contiguous() for name, value in self.state().items()}
        write_atomically(path, save(tensors))


def _statistics(backbone: Backbone) -> dict[str, Tensor]:
    """Batch norm's running means and variances."""
    layers = [name for name, module in backbone.named_modules() if isinstance(module, _BatchNorm)]
    return {f"{layer}{what}": backbone.get_buffer(f"{layer}{what}") for layer in layers for what in _STATISTICS}


def _is_statistic(name: str) -> bool:
    return name.endswith(_STATISTICS)


class _Full(Adapter):
    """Every weight of stem, blocks and head; the texts of a zero-shot head stay."""

    def __init__(self, backbone: Backbone) -> None:
        network = copy.deepcopy(backbone)
        super().__init__(network, dict(network.requires_grad_().named_parameters()))

    def gather(self) -> None:
        """The gradients are where they belong already."""

    def apply(self) -> None:
        """The parameters are the weights; what was computed from older ones is forgotten."""
        for module in self.backbone.modules():
            if isinstance(module, PositionEmbedding):
                module.forget()


class _None(Adapter):
    """Nothing: only a scheduler is trained."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(copy.deepcopy(backbone), {})

    def gather(self) -> None:
        """There is nothing to gather."""

    def apply(self) -> None:
        """There is nothing to apply."""


class _LowRank(Adapter):
    """Low-rank updates (Hu et al., "LoRA", 2021) of linear layers, convolutions and attention, as peft makes them.

    A kernel with groups has a few values a channel, less than any factors of it: its update is whole.

    peft runs an adapted layer's factors beside it, for every picture. Here they are multiplied into the weights once a
    step instead, which all branches of the step share, and which leaves no difference between merged and not.
    """

    def __init__(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter], scale: float) -> None:
        network = copy.deepcopy(backbone)
        super().__init__(network, parameters)
        self._scale = scale
        self._weights = _weights(network, self.parameters)
        self._base = {name: weight.detach().clone() for name, weight in self._weights.items()}
        for weight in self._weights.values():
            weight.requires_grad_()

    def gather(self) -> None:
        deltas, gradients = [], []
        for name, delta in self._deltas():
            gradient, self._weights[name].grad = self._weights[name].grad, None
            if gradient is not None:
                deltas.append(delta)
                gradients.append(gradient)
        torch.autograd.backward(deltas, gradients)

    @torch.no_grad()
    def apply(self) -> None:
        for name, delta in self._deltas():
            self._weights[name].copy_(self._base[name] + delta)

    def _deltas(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.parameters.items():
            layer = _layer(name)
            if name.endswith(_WHOLE):
                yield layer, parameter.view_as(parameter)
            elif name.endswith(_DOWN):
                up = self.parameters[name.removesuffix(_DOWN) + _UP]
                product = up.flatten(1) @ parameter.flatten(1)
                yield layer, product.view(self._weights[layer].shape) * self._scale


def _factors(backbone: Backbone, rank: int, alpha: float, seed: int) -> dict[str, nn.Parameter]:
    """peft's factors of every layer that it can merge, by peft's names."""
    from peft import LoraConfig, inject_adapter_in_model

    attentions = [name for name, module in backbone.named_modules() if isinstance(module, nn.MultiheadAttention)]
    targets = attentions + [
        name
        for name, module in backbone.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and not any(name.startswith(f"{attention}.") for attention in attentions)
    ]
    # Only peft's own tensors are new in the copy that it changes.
    tensors = [*backbone.parameters(), *backbone.buffers()]
    copied = copy.deepcopy(backbone, {id(tensor): tensor for tensor in tensors})
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(map(re.escape, targets)))
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        injected = inject_adapter_in_model(config, copied)
    return {
        name.replace(".default", ""): parameter for name, parameter in injected.named_parameters() if ".lora_" in name
    }


def _wholes(backbone: Backbone) -> dict[str, nn.Parameter]:
    return {
        f"{name}{_WHOLE}": nn.Parameter(torch.zeros_like(module.weight))
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1
    }


def _weights(network: Backbone, stored: Mapping[str, object]) -> dict[str, nn.Parameter]:
    """The weight that each stored tensor changes, by the name of its layer."""
    found = {}
    for layer in dict.fromkeys(map(_layer, stored)):
        module = network.get_submodule(layer)
        weight = module.in_proj_weight if isinstance(module, nn.MultiheadAttention) else module.weight
        if not isinstance(weight, nn.Parameter):
            raise TypeError(f"{layer}: has no weight")
        found[layer] = weight
    return found


def _layer(name: str) -> str:
    for suffix in (_DOWN, _UP, _WHOLE):
        name = name.removesuffix(suffix)
    return name.replace(".base_layer", "")


def attach(backbone: Backbone, kind: Kind, rank: int = 16, alpha: float = 32, seed: int = 0) -> Adapter:
    """Something to train of `backbone`, which itself stays as it is; at first the copy does what it does.

    rank, alpha: of low-rank updates, which are scaled by alpha / rank. seed: of their random half.
    """
    match kind:
        case "lora":
            factors = _factors(backbone, rank, alpha, seed)
            return _LowRank(backbone, factors | _wholes(backbone), alpha / rank)
        case "full":
            return _Full(backbone)
        case "none":
            return _None(backbone)


def adapted(backbone: Backbone, run: Run, strength: float = 1.0) -> Backbone:
    """A copy of the base `backbone` with the run's adapter merged into plain weights.

    strength: how far the weights go from the base to the trained ones, as in `weakened`.
    Raises InvalidInputError where the run was trained on another backbone or other weights, or its file is damaged.
    """
    manifest = run.manifest
    if manifest.backbone != backbone.name:
        raise InvalidInputError(f"run {run.folder}: is of {manifest.backbone}, not of {backbone.name}")
    if manifest.weights != fingerprint(backbone):
        raise InvalidInputError(f"run {run.folder}: was trained on other weights of {backbone.name} than these")
    path = run.adapter_path
    if path is None:
        return copy.deepcopy(backbone)
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except Exception as error:  # what the format's reader raises is its own
        raise InvalidInputError(f"run {run.folder}: {path.name} is damaged ({one_line(error, 120)})") from None
    told = manifest.adapter
    try:
        if told.kind == "lora":
            if told.rank is None or told.alpha is None:
                raise InvalidInputError(f"run {run.folder}: adapter: has no rank or alpha")
            # Without peft, which takes seconds to import: a daemon that starts only multiplies.
            parameters = {name: nn.Parameter(value) for name, value in state.items() if not _is_statistic(name)}
            adapter: Adapter = _LowRank(backbone, parameters, told.alpha / told.rank)
        else:
            adapter = attach(backbone, told.kind)
        adapter.load(state, path)
    except (AttributeError, KeyError, RuntimeError, TypeError):
        raise InvalidInputError(f"run {run.folder}: {path.name} does not fit {backbone.name}") from None
    return weakened(adapter.backbone.requires_grad_(False), backbone, strength)


def weakened(network: Backbone, base: Backbone, strength: float) -> Backbone:
    """An adapted `network` so far from its base; itself, changed.

    Half-way weights often serve pictures better that are not like those of the training (Wortsman et al., "Robust
    fine-tuning of zero-shot models", 2022).
    """
    if strength != 1:
        with torch.no_grad():
            for weight, original in zip(network.parameters(), base.parameters(), strict=True):
                weight.lerp_(original, 1 - strength)
            originals = _statistics(base)
            for name, statistic in _statistics(network).items():
                statistic.lerp_(originals[name], 1 - strength)
    return network
