"""The loop that every recipe runs in: optimizer, schedule, checkpoints, an end by steps or by time."""

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
    """How long and how fast. One of steps and seconds is given; checkpoints are written every so many seconds."""

    learning_rate: float
    steps: int | None = None
    seconds: float | None = None
    checkpoint_every: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("learning rate", self.learning_rate), ("steps", self.steps), ("seconds", self.seconds)):
            if value is not None and not 0 < value < math.inf:
                raise InvalidInputError(f"{name} {value}: must be above 0 and finite")

    def done(self, progress: Progress) -> float:
        """How much of the training is done, 0 to 1."""
        if self.steps is not None:
            return min(1.0, progress.step / self.steps)
        return min(1.0, progress.seconds / (self.seconds or math.inf))

    def rate_at(self, done: float) -> float:
        """The learning rate: a short linear warm-up, then half a cosine down to nothing."""
        return self.learning_rate * min(1.0, done / _WARM_UP) * (1 + math.cos(math.pi * done)) / 2


def train(
    recipe: Recipe,
    views: ViewFeed,
    plan: TrainingPlan,
    folder: Path,
    settings: Mapping[str, JsonValue],
    ranks: Ranks,
) -> Progress:
    """Train to the plan's end, from the folder's checkpoint where there is one.

    Raises InvalidInputError where the loss is no number, and where a checkpoint cannot be written; the last one stays.
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
    ranks.agreed(0.0)  # all have looked before one writes
    if checkpoint is None and ranks.is_first:
        # At once, so that a folder that cannot be written is known before an hour is spent.
        Checkpoint.take(progress, kept, optimizer).write(path, settings)
    course = Course("training", progress, views.batch, device)
    kept_at = now = time.monotonic()
    with closing(views.from_step(progress.step)) as batches, progress_shown(silent=not ranks.is_first) as tell:
        while (done := plan.done(course.progress)) < 1:
            for group in optimizer.param_groups:
                # Half a step on: the first step is worth taking, too.
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
    """The step's figures, as `Course` wants them."""
    optimizer.zero_grad()
    own = recipe.learn(batch)
    ranks.average_gradients(recipe.parameters.values())
    ranks.average_all(recipe.statistics.values())
    length = torch.nn.utils.clip_grad_norm_(recipe.parameters.values(), _LARGEST_NORM)
    figures = ranks.average(torch.stack([own.loss, own.agreement, length]).detach())
    optimizer.step()
    recipe.apply()
    return figures
