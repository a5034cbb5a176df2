"""The training loop that all recipes share: optimizer, learning rate schedule, checkpoints, end by steps or time."""

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from adainf.base.errors import InvalidInputError
from adainf.training.checkpoint import Checkpoint, Progress, checkpoint_path
from adainf.training.course import Course
from adainf.training.data.views import Batch, ViewFeed
from adainf.training.progress import progress_shown
from adainf.training.ranks import Ranks
from adainf.training.recipes.recipe import Recipe

__all__ = ["TrainingPlan", "train"]

_WARM_UP = 0.05
_LARGEST_NORM = 1.0


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Duration and learning rate.

    Set either `steps` or `seconds`. checkpoint_every: seconds between checkpoints.
    """

    learning_rate: float
    steps: int | None = None
    seconds: float | None = None
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("learning rate", self.learning_rate), ("steps", self.steps), ("seconds", self.seconds)):
            if value is not None and not 0 < value < math.inf:
                raise InvalidInputError(f"{name} {value}: must be above 0 and finite")

    def done(self, progress: Progress) -> float:
        """Return the completed fraction of the training, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        return min(1.0, progress.seconds / (self.seconds or math.inf))

    def rate_at(self, done: float) -> float:
        """Return the learning rate at the fraction `done`: a short linear warm-up, times cosine decay to zero."""
        return self.learning_rate * min(1.0, done / _WARM_UP) * (1 + math.cos(math.pi * done)) / 2


def train(
    recipe: Recipe,
    views: ViewFeed,
    plan: TrainingPlan,
    folder: Path,
    settings: Mapping[str, JsonValue],
    ranks: Ranks,
) -> Progress:
    """Train to the plan's end, resuming from the checkpoint in `folder` if it exists.

    Return the final progress. settings: everything the outcome depends on; a checkpoint must match them. Raises
    InvalidInputError if the loss is not finite, or if a checkpoint cannot be written; the last checkpoint is kept.
    """
    path = checkpoint_path(folder)
    parameters = list(recipe.parameters.values())
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=0.0, fused=device.type == "cuda")
    kept = {**recipe.parameters, **recipe.statistics}
    checkpoint = Checkpoint.read(path, settings)
    if checkpoint is not None:
        checkpoint.restore(kept, optimizer)
        recipe.apply()
    progress = Progress() if checkpoint is None else checkpoint.progress
    ranks.agreed(0.0)  # a barrier: every process has looked for a checkpoint before the first process writes one
    if checkpoint is None and ranks.is_first:
        # Written before the first step, so that an unwritable folder fails at once and not an hour into training.
        Checkpoint.take(progress, kept, optimizer).write(path, settings)
    course = Course("training", progress, views.batch, device)
    kept_at = now = time.monotonic()
    with closing(views.from_step(progress.step)) as batches, progress_shown(silent=not ranks.is_first) as tell:
        while (done := plan.done(course.progress)) < 1:
            for group in optimizer.param_groups:
                # The schedule is evaluated at the middle of the step: at its start, the first step's rate would be 0.
                group["lr"] = plan.rate_at(done + (0.5 / plan.steps if plan.steps else 0))
            figures = _step(recipe, optimizer, next(batches), ranks)
            before, now = now, time.monotonic()
            course.add(figures, ranks.agreed(now - before))
            to_keep = ranks.is_first and now - kept_at >= plan.checkpoint_every
            if course.is_to_read or to_keep:
                tell(plan.done(course.progress), course.read(), course.rate)
            if to_keep:
                kept_at = now
                Checkpoint.take(course.progress, kept, optimizer).write(path, settings)
        return course.read()


def _step(recipe: Recipe, optimizer: torch.optim.Optimizer, batch: Batch, ranks: Ranks) -> Tensor:
    """Take one optimizer step.

    Return its loss, agreement and gradient norm (3,), as `Course.add` takes them.
    """
    optimizer.zero_grad()
    outcome = recipe.learn(batch)
    ranks.average_gradients(recipe.parameters.values())
    ranks.average_all(recipe.statistics.values())
    norm = torch.nn.utils.clip_grad_norm_(recipe.parameters.values(), _LARGEST_NORM)
    figures = ranks.average(torch.stack([outcome.loss, outcome.agreement, norm]).detach())
    optimizer.step()
    recipe.apply()
    return figures
