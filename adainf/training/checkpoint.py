"""Checkpoints: the state from which an interrupted training resumes with an identical outcome."""

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
    """Training progress: steps completed, seconds spent on them, running means of loss and agreement."""

    step: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    agreement: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """Progress, and the parameters with their optimizer state, keyed `NAME/value` and `NAME/STATE_KEY`."""

    progress: Progress
    tensors: Mapping[str, Tensor]

    @classmethod
    def take(
        cls, progress: Progress, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
    ) -> "Checkpoint":
        """Return a checkpoint of the current parameters and optimizer state, sharing their memory."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in parameters.items():
            tensors[f"{name}/{_VALUE}"] = parameter.detach()
            tensors |= {f"{name}/{key}": value for key, value in optimizer.state.get(parameter, {}).items()}
        return cls(progress, tensors)

    @torch.no_grad()
    def restore(self, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Load the stored values into `parameters` and `optimizer`, in place."""
        # Only a fused optimizer keeps its step counters on the parameters' device; the others keep them on the CPU.
        fused = bool(optimizer.defaults.get("fused"))
        for key, value in self.tensors.items():
            name, _, state_key = key.rpartition("/")
            parameter = parameters[name]
            if state_key == _VALUE:
                parameter.copy_(value)
            else:
                device = parameter.device if fused or state_key != "step" else "cpu"
                optimizer.state[parameter][state_key] = value.to(device, copy=True)

    def write(self, path: Path, settings: Mapping[str, JsonValue]) -> None:
        """Write the checkpoint atomically.

        settings: everything the outcome depends on. Raises InvalidInputError if `path` cannot be written; an existing
        checkpoint is left intact.
        """
        from safetensors.torch import save

        progress = {key: getattr(self.progress, key) for key in Progress.__slots__}
        metadata = {"schema": _SCHEMA, "settings": json.dumps(settings), "progress": json.dumps(progress)}
        tensors = {key: value.cpu().contiguous() for key, value in self.tensors.items()}
        try:
            write_atomically(path, save(tensors, metadata))
        except InvalidInputError as error:
            intact = f"; that of step {_step(path)} is kept" if path.exists() else ""
            raise InvalidInputError(f"{error}{intact}") from None

    @classmethod
    def read(cls, path: Path, settings: Mapping[str, JsonValue]) -> "Checkpoint | None":
        """Return the checkpoint at `path`, or None if the file does not exist.

        Raises InvalidInputError if the file is not a checkpoint, or was written with other settings; the message names
        the first setting that differs.
        """
        from safetensors.torch import load_file

        if not path.exists():
            return None
        try:
            metadata = _told(path)
            stored = dict(json.loads(metadata["settings"]))
            progress = Progress(**json.loads(metadata["progress"]))
            tensors = load_file(path)
        except Exception:  # a corrupt or foreign file can fail in any of these parsers
            raise InvalidInputError(f"{path}: is no checkpoint; delete it to start anew") from None
        for key, wanted in settings.items():
            if stored.get(key) != wanted:
                was, now = json.dumps(stored.get(key)), json.dumps(wanted)
                raise InvalidInputError(
                    f"{path}: belongs to a training with {key} {was}, not {now}; "
                    "repeat its settings, or delete it to start anew"
                )
        return cls(progress, tensors)


def checkpoint_path(folder: Path) -> Path:
    """Return the path of an unfinished run's checkpoint."""
    return folder / "checkpoint.safetensors"


def _told(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata: dict[str, str] = file.metadata()
    return metadata


def _step(path: Path) -> int:
    step: int = json.loads(_told(path)["progress"])["step"]
    return step
