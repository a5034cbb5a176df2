"""The interface between recipes and the training loop: trainable parameters, and their gradients for a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor, nn

from adainf.training.data.views import Batch

__all__ = ["Recipe", "StepOutcome"]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """Loss and agreement of a step, on its device.

    agreement: share of answers equal to the full model's (0..1).
    """

    loss: Tensor
    agreement: Tensor


class Recipe(Protocol):
    """A training method.

    Its random draws are a function of the batch's step, so a resumed training is identical.
    """

    @property
    def name(self) -> Literal["distil", "paper"]:
        """The recipe's name in the manifest."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The trained parameters, by their names in checkpoints."""

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        """Other tensors that training changes: batch norm's means and variances, by their names in checkpoints."""

    def resolutions(self, step: int) -> Sequence[int]:
        """Return the resolutions, pixels a side, at which `learn` needs the step's views."""

    def learn(self, batch: Batch) -> StepOutcome:
        """Compute the loss and leave its gradients on the parameters, which have none before."""

    def apply(self) -> None:
        """Propagate the parameters' new values to everything derived from them."""

    def save(self, folder: Path) -> Sequence[str]:
        """Write the trained weights to the run's folder; return the file names."""
