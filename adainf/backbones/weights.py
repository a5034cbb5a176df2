"""Weight files: reading without executing code, checking against a network, writing and fingerprinting."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from adainf.backbones.base import Backbone
from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, MissingWeightsError, one_line
from adainf.outline import Outline
from adainf.profile import write_atomically

__all__ = ["class_names", "fingerprint", "fit", "head_size", "outline", "read", "write"]

_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_NAMED = 3
_CLASSES = "adainf.classes"


def read(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file or a PyTorch state dict; raises InvalidInputError if it is neither."""
    if not files.is_file(path, "weights"):
        raise MissingWeightsError(f"weights {path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: object = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling untrusted bytes can raise anything
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
    """Write a network's tensors atomically as safetensors, with the names of its classes in order."""
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write_atomically(path, save(tensors, {_CLASSES: json.dumps(list(classes))}))


def class_names(path: Path) -> tuple[str, ...]:
    """Read the class names that `write` stored in a file; empty for a file from elsewhere."""
    if path.suffix != ".safetensors":
        return ()
    from safetensors import safe_open

    with documents.refusing(f"weights {path}"):
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get(_CLASSES)
        return tuple(map(str, json.loads(stored))) if stored else ()


def fit(network: nn.Module, weights: Mapping[str, Tensor], origin: object, backbone: str) -> None:
    """Load `weights` into `network`; raises InvalidInputError if names or shapes do not match."""
    expected = network.state_dict()
    wrong_shape = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in weights and weights[key].shape != expected[key].shape
    ]
    missing = [key for key in expected if key not in weights and not key.endswith("num_batches_tracked")]
    unknown = [key for key in weights if key not in expected]
    problems = [
        f"{problem}: {_some(keys)}"
        for problem, keys in (
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
    """Return the class count of the first of `classifiers` present in `weights`, or None if none is."""
    found = (weights[f"{name}.weight"] for name in classifiers if f"{name}.weight" in weights)
    return next((len(weight) for weight in found if weight.ndim), None)


def fingerprint(network: nn.Module) -> str:
    """Return the SHA-256 of names, types, shapes and values: equal for equal weights from any source.

    It covers the texts of a zero-shot head.
    """
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def outline(backbone: Backbone) -> Outline:
    """Return the metadata of `backbone` that can be cached."""
    return Outline(
        backbone.name, fingerprint(backbone), backbone.droppable, backbone.preprocessing, backbone.classes.names
    )
