"""Weights from a file: read without running code in it, and fitted to a network or refused."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from adainf.backbones.base import Backbone
from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, one_line
from adainf.outline import Outline
from adainf.profile import write_atomically

__all__ = ["class_names", "fingerprint", "fit", "head_size", "outline", "read", "write"]

_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_NAMED = 3
_CLASSES = "adainf.classes"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a PyTorch state dict; raises InvalidInputError where it is neither."""
    if not files.is_file(path, "weights"):
        raise InvalidInputError(f"weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what unpickling foreign bytes raises is anybody's guess
        raise InvalidInputError(
            f"weights {path}: must be a safetensors file or a PyTorch state dict ({one_line(error, 120)})"
        ) from None
    for key in _NESTED_UNDER:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise InvalidInputError(f"weights {path}: holds no state dict (names with tensors)")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def write(path: Path, network: nn.Module, classes: Iterable[str]) -> None:
    """Write a network's tensors as safetensors, whole or not at all, with the names of its classes in order."""
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_atomically(path, save(tensors, {_CLASSES: json.dumps(list(classes))}))


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the classes that `write` put into a file; none where another made it."""
    if path.suffix != ".safetensors":
        return ()
    from safetensors import safe_open

    with documents.refusing(f"weights {path}"):
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(_CLASSES)
        return tuple(map(str, json.loads(told))) if told else ()


def fit(network: nn.Module, weights: Mapping[str, Tensor], origin: object, backbone: str) -> None:
    """Load `weights` into `network`; raises InvalidInputError where names or shapes do not agree."""
    expected = network.state_dict()
    wrong_shape = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in weights and weights[key].shape != expected[key].shape
    ]
    missing = [key for key in expected if key not in weights and not key.endswith("num_batches_tracked")]
    unknown = [key for key in weights if key not in expected]
    problems = [
        f"{what}: {_some(keys)}"
        for what, keys in (
            ("missing", missing),
            ("not of this network", unknown),
            ("of another shape", wrong_shape),
        )
        if keys
    ]
    if problems:
        raise InvalidInputError(f"weights {origin}: do not fit {backbone}; {'; '.join(problems)}")
    network.load_state_dict(dict(weights), strict=False)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def head_size(weights: Mapping[str, Tensor], classifiers: Iterable[str]) -> int | None:
    """How many classes the first of the named classifiers has in `weights`; None where none is there."""
    found = (weights[f"{name}.weight"] for name in classifiers if f"{name}.weight" in weights)
    return next((len(weight) for weight in found if weight.ndim), None)


def fingerprint(network: nn.Module) -> str:
    """SHA-256 over names, shapes and values: the same for the same weights, wherever they came from.

    The texts of a zero-shot head are among them.
    """
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def outline(backbone: Backbone) -> Outline:
    """What may be remembered of `backbone`."""
    return Outline(
        backbone.name, fingerprint(backbone), backbone.droppable, backbone.preprocessing, backbone.classes.names
    )
