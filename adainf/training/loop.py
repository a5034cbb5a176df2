"""The loop that every recipe runs in: optimizer, schedule, checkpoints, an end by steps or by time."""

import math
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import JsonValue

from adainf.errors import InvalidInputError
from adainf.training.checkpoint import Checkpoint, Progress, checkpoint_path
from adainf.training.progress import progress_shown
from adainf.training.ranks import Ranks
from adainf.training.recipe import Outcome, Recipe
from adainf.training.views import Batch, Views

__all__ = ["Plan", "train"]

_WARM_UP = 0.05
_LARGEST_NORM = 1.0
_MEMORY = 0.98


@dataclass(frozen=True, slots=True)
class Plan:
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
    views: Views,
    plan: Plan,
    folder: Path,
    settings: Mapping[str, JsonValue],
    ranks: Ranks,
) -> Progress:
    """Train to the plan's end, from the folder's checkpoint where there is one.

    Raises InvalidInputError where the loss is no number, and where a checkpoint cannot be written; the last one stays.
    """
    path = checkpoint_path(folder)
    optimizer = torch.optim.AdamW(recipe.parameters.values(), lr=plan.learning_rate, weight_decay=0.0)
    checkpoint = Checkpoint.read(path, settings)
    progress = Progress()
    if checkpoint is not None:
        checkpoint.restore(recipe.parameters, optimizer)
        recipe.apply()
        progress = checkpoint.progress
    ranks.agreed(0.0)  # all have looked before one writes
    if checkpoint is None and ranks.is_first:
        # At once, so that a folder that cannot be written is known before an hour is spent.
        Checkpoint.take(progress, recipe.parameters, optimizer).write(path, settings)
    device = next(iter(recipe.parameters.values())).device
    kept_at = now = time.monotonic()
    with closing(views.from_step(progress.step)) as batches, progress_shown(silent=not ranks.is_first) as tell:
        while (done := plan.done(progress)) < 1:
            for group in optimizer.param_groups:
                # Half a step on: the first step is worth taking, too.
                group["lr"] = plan.rate_at(done + (0.5 / plan.steps if plan.steps else 0))
            outcome = _step(recipe, optimizer, next(batches).to(device), ranks)
            before, now = now, time.monotonic()
            progress = _after(progress, outcome, ranks.agreed(now - before))
            tell(plan.done(progress), progress, views.batch * progress.step / progress.seconds)
            if ranks.is_first and now - kept_at >= plan.checkpoint_every:
                kept_at = now
                Checkpoint.take(progress, recipe.parameters, optimizer).write(path, settings)
    return progress


def _step(recipe: Recipe, optimizer: torch.optim.Optimizer, batch: Batch, ranks: Ranks) -> Outcome:
    optimizer.zero_grad()
    own = recipe.learn(batch)
    ranks.average_gradients(recipe.parameters.values())
    norm = torch.nn.utils.clip_grad_norm_(recipe.parameters.values(), _LARGEST_NORM)
    loss, agreement, norm_too = ranks.average(torch.tensor([own.loss, own.agreement, float(norm)])).tolist()
    if not (math.isfinite(loss) and math.isfinite(norm_too)):
        raise InvalidInputError(
            f"training: the loss is {loss} and its gradient {norm_too} long at step {batch.step}; "
            "start again with a lower learning rate (the last checkpoint is kept)"
        )
    optimizer.step()
    recipe.apply()
    return Outcome(loss, agreement)


def _after(progress: Progress, outcome: Outcome, seconds: float) -> Progress:
    # The mean of all steps so far at first, later of about the last fifty.
    weight = max(1 - _MEMORY, 1 / (progress.step + 1))
    return replace(
        progress,
        step=progress.step + 1,
        seconds=progress.seconds + seconds,
        loss=progress.loss + weight * (outcome.loss - progress.loss),
        agreement=progress.agreement + weight * (outcome.agreement - progress.agreement),
    )
