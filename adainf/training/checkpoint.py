"""Checkpoints: all that a training needs to end as if it had never been killed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from adainf.base.errors import InvalidInputError
from adainf.profile import write_atomically

__all__ = ["Checkpoint", "Progress", "checkpoint_path"]

_SCHEMA = "adainf.checkpoint/1"
_VALUE = "value"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is: steps done, seconds spent on them, running means of loss and agreement."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    agreement: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """Parameters with the optimizer's memory of them, by `NAME/what`, and how far the training is."""

    progress: Progress
    tensors: Mapping[str, Tensor]

    @classmethod
    def take(
        cls, progress: Progress, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> "Checkpoint":
        """What is to be kept at this moment."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            tensors[f"{name}/{_VALUE}"] = parameter.detach()
            tensors |= {f"{name}/{key}": value for key, value in optimizer.state.get(parameter, {}).items()}
        return cls(progress, tensors)

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Put parameters and optimizer back to where they were."""
        # Unless it is fused, an optimizer counts steps on the CPU, wherever its parameters are.
        counts_there = bool(optimizer.defaults.get("fused"))
        for key, value in self.tensors.items():
            name, _, what = key.rpartition("/")
            parameter = parameters[name]
            if what == _VALUE:
                parameter.copy_(value)
            else:
                there = parameter.device if counts_there or what != "step" else "cpu"
                optimizer.state[parameter][what] = value.to(there, copy=True)

    def write(self, path: Path, settings: Mapping[str, JsonValue]) -> None:
        """Write the checkpoint, whole or not at all. settings: all that the outcome depends on."""
        from safetensors.torch import save

        progress = {key: getattr(self.progress, key) for key in Progress.__slots__}
        told = {"schema": _SCHEMA, "settings": json.dumps(settings), "progress": json.dumps(progress)}
        tensors = {key: value.cpu().contiguous() for key, value in self.tensors.items()}
        try:
            write_atomically(path, save(tensors, told))
        except InvalidInputError as error:
            kept = f"; that of step {_step(path)} is kept" if path.exists() else ""
            raise InvalidInputError(f"{error}{kept}") from None

    @classmethod
    def read(cls, path: Path, settings: Mapping[str, JsonValue]) -> "Checkpoint | None":
        """The checkpoint, or None where there is no such file.

        Raises InvalidInputError where it belongs to other settings, naming the first that differs.
        """
        from safetensors.torch import load_file

        if not path.exists():
            return None
        try:
            told = _told(path)
            before = dict(json.loads(told["settings"]))
            progress = Progress(**json.loads(told["progress"]))
            tensors = load_file(path)
        except Exception:  # whatever else the file is
            raise InvalidInputError(f"{path}: is no checkpoint; delete it to start anew") from None
        for key, wanted in settings.items():
            if before.get(key) != wanted:
                was, now = json.dumps(before.get(key)), json.dumps(wanted)
                raise InvalidInputError(
                    f"{path}: belongs to a training with {key} {was}, not {now}; "
                    "repeat its settings, or delete it to start anew"
                )
        return cls(progress, tensors)


def checkpoint_path(folder: Path) -> Path:
    """Where the checkpoint of an unfinished run is."""
    return folder / "checkpoint.safetensors"


def _told(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        told: dict[str, str] = file.metadata()
    return told


def _step(path: Path) -> int:
    step: int = json.loads(_told(path)["progress"])["step"]
    return step
