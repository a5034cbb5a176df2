"""What a recipe gives the loop: parameters to train, and their gradients for a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor, nn

from adainf.training.data.views import Batch

__all__ = ["Recipe", "StepOutcome"]


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step came to, where it was computed. agreement: how often a branch answers as the full model (0..1)."""

    loss: Tensor
    agreement: Tensor


class Recipe(Protocol):
    """A way to train. Whatever it draws is a function of the batch's step, so that a resumed training goes on alike."""

    @property
    def name(self) -> Literal["distil", "paper"]:
        """What the manifest says."""

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What is trained, by the names under which checkpoints keep it."""

    @property
    def statistics(self) -> Mapping[str, Tensor]:
        """What else moves while training: batch norm's means and variances, by the names under which they are kept."""

    def resolutions(self, step: int) -> Sequence[int]:
        """The resolutions, pixels a side, that `learn` wants the step's views at."""

    def learn(self, batch: Batch) -> StepOutcome:
        """Leave the loss's gradients on the parameters, which have none before."""

    def apply(self) -> None:
        """Take note that the parameters have new values."""

    def save(self, folder: Path) -> Sequence[str]:
        """Write what was trained into the run's folder; the names of the files."""
