"""Adapters: the changes that training makes to a backbone's weights, stored apart from the weights."""

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
# Running means average over fifty batches or more.
_MOMENTUM = 0.02
_DOWN, _UP, _WHOLE = ".lora_A.weight", ".lora_B.weight", ".delta"


class Adapter(ABC):
    """The trainable part of a backbone.

    backbone: a copy that always runs with plain, adapted weights, so that any branch of it can run.
    parameters: the tensors that an optimizer updates, by the names under which they are stored.
    statistics: batch norm's running means and variances if training updates them (`move_statistics`), else empty.

    A training step runs the backbone and `backward` any number of times, then `gather`, the optimizer's step, and
    `apply`.
    """

    def __init__(self, backbone: Backbone, parameters: Mapping[str, nn.Parameter]) -> None:
        self.backbone = backbone
        self.parameters = dict(parameters)
        self.statistics: dict[str, Tensor] = {}

    def move_statistics(self) -> None:
        """Switch batch norm to batch statistics, which update the running statistics that the adapter stores.

        Raises InvalidInputError if the backbone has no batch norm.
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
        """Convert the gradients of the backbone's weights to gradients of the parameters."""

    @abstractmethod
    def apply(self) -> None:
        """Set the backbone's weights from the current values of the parameters."""

    def state(self) -> dict[str, Tensor]:
        """Return the values of parameters and statistics by name."""
        return {name: tensor.detach() for name, tensor in (self.parameters | self.statistics).items()}

    def load(self, state: Mapping[str, Tensor], origin: object) -> None:
        """Load a `state()`; raises InvalidInputError, naming `origin`, if names or shapes do not fit."""
        if any(map(_is_statistic, state)):
            self.statistics = _statistics(self.backbone)
        own = self.state()
        if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in own.items()}:
            raise InvalidInputError(f"{origin}: its tensors do not fit {self.backbone.name}")
        for name, tensor in own.items():
            tensor.copy_(state[name])
        self.apply()

    def save(self, path: Path) -> None:
        """Write parameters and statistics atomically to a safetensors file."""
        from safetensors.torch import save

        tensors = {name: value.cpu().contiguous() for name, value in self.state().items()}
        write_atomically(path, save(tensors))


def _statistics(backbone: Backbone) -> dict[str, Tensor]:
    """Return the running means and variances of batch norm by name."""
    layers = [name for name, module in backbone.named_modules() if isinstance(module, _BatchNorm)]
    return {f"{layer}{suffix}": backbone.get_buffer(f"{layer}{suffix}") for layer in layers for suffix in _STATISTICS}


def _is_statistic(name: str) -> bool:
    return name.endswith(_STATISTICS)


class _Full(Adapter):
    """An adapter that trains every weight of stem, blocks and head, but not the texts of a zero-shot head."""

    def __init__(self, backbone: Backbone) -> None:
        network = copy.deepcopy(backbone)
        super().__init__(network, dict(network.requires_grad_().named_parameters()))

    def gather(self) -> None:
        """Do nothing: the parameters are the weights."""

    def apply(self) -> None:
        """Clear caches computed from older weights; the parameters are the weights."""
        for module in self.backbone.modules():
            if isinstance(module, PositionEmbedding):
                module.forget()


class _None(Adapter):
    """An adapter without parameters, for training only a scheduler."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(copy.deepcopy(backbone), {})

    def gather(self) -> None:
        """Do nothing: there are no parameters."""

    def apply(self) -> None:
        """Do nothing: there are no parameters."""


class _LowRank(Adapter):
    """Low-rank updates (Hu et al., "LoRA", 2021) of linear layers, convolutions and attention, as in peft.

    A grouped convolution is updated as a whole: its kernel has a few values per channel, fewer than any factors.

    peft runs the factors beside the adapted layer, for every picture. Here they are multiplied into the weights once
    per step instead: all branches of the step share the product, and merging an adapter changes no result.
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
    """Return peft's low-rank factors of every layer that peft can merge, by peft's names."""
    from peft import LoraConfig, inject_adapter_in_model

    attentions = [name for name, module in backbone.named_modules() if isinstance(module, nn.MultiheadAttention)]
    targets = attentions + [
        name
        for name, module in backbone.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
        and not any(name.startswith(f"{attention}.") for attention in attentions)
    ]
    # The copy that peft modifies shares all tensors with the backbone, so only peft's own need memory.
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
    """Return the weight that each stored tensor updates, by the name of its layer."""
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
    """Return a new adapter of a copy of `backbone`; before training the copy gives the same scores.

    rank, alpha: for low-rank updates, which are scaled by alpha / rank. seed: for their random factor.
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
    """Return a copy of the base `backbone` with the run's adapter merged into plain weights.

    strength: the interpolation weight from base (0) to trained (1) weights, as in `weakened`.
    Raises InvalidInputError if the run belongs to another backbone or other weights, or its file is damaged.
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
    except Exception as error:  # safetensors raises its own exceptions
        raise InvalidInputError(f"run {run.folder}: {path.name} is damaged ({one_line(error, 120)})") from None
    spec = manifest.adapter
    try:
        if spec.kind == "lora":
            if spec.rank is None or spec.alpha is None:
                raise InvalidInputError(f"run {run.folder}: adapter: has no rank or alpha")
            # Bypass peft, which takes seconds to import; merging only needs the stored factors.
            parameters = {name: nn.Parameter(value) for name, value in state.items() if not _is_statistic(name)}
            adapter: Adapter = _LowRank(backbone, parameters, spec.alpha / spec.rank)
        else:
            adapter = attach(backbone, spec.kind)
        adapter.load(state, path)
    except (AttributeError, KeyError, RuntimeError, TypeError):
        raise InvalidInputError(f"run {run.folder}: {path.name} does not fit {backbone.name}") from None
    return weakened(adapter.backbone.requires_grad_(False), backbone, strength)


def weakened(network: Backbone, base: Backbone, strength: float) -> Backbone:
    """Interpolate the weights of an adapted `network` in place, from `base` (0) to its own (1), and return it.

    Intermediate weights often do better on pictures unlike the training data (Wortsman et al., "Robust fine-tuning of
    zero-shot models", 2022).
    """
    if strength != 1:
        with torch.no_grad():
            for weight, original in zip(network.parameters(), base.parameters(), strict=True):
                weight.lerp_(original, 1 - strength)
            originals = _statistics(base)
            for name, statistic in _statistics(network).items():
                statistic.lerp_(originals[name], 1 - strength)
    return network
