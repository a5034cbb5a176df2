"""At run time the better of lookup table and content-aware scheduler, as calibration found them."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adainf.branch import Branch
from adainf.profile import Profile, Scheduled, WeightSet
from adainf.run import Run
from adainf.schedulers.block_scheduler import PaperScheduler, read_scheduler
from adainf.schedulers.lookup import Choice

__all__ = ["ContentAware", "better_at", "content_aware"]


@dataclass(frozen=True)
class ContentAware:
    """The run's scheduler, and the budgets at which it was better than the lookup table (AdaInf, 2024, figure 2).

    scheduler: keeps its budget. levels: by rising budgets. weights: the set that it was trained with.
    """

    scheduler: PaperScheduler
    levels: Sequence[Scheduled]
    weights: WeightSet
    _deciding: dict[float, Callable[[NDArray[np.float32]], NDArray[np.bool_]]] = field(default_factory=dict)

    @property
    def resolution(self) -> int:
        """Where it decides, pixels a side."""
        return self.scheduler.space.native_resolution

    def level(self, budget: float) -> Scheduled | None:
        """What is known of it under `budget`; None where the lookup table is better, or it cannot keep the budget."""
        return None if budget < self.scheduler.floor else better_at(self.levels, budget)

    def choose(self, embedding: NDArray[np.float32], level: Scheduled, budget: float) -> Choice:
        """The blocks for a picture with this embedding (width,) within `budget`, the scheduler's own MACs counted."""
        if budget not in self._deciding:
            self._deciding.clear()
            self._deciding[budget] = self.scheduler.at(budget)
        keep = self._deciding[budget](embedding)
        return self.choice(Branch(self.resolution, tuple(keep.tolist())), level)

    def choice(self, branch: Branch, level: Scheduled) -> Choice:
        """A branch that it takes."""
        space = self.scheduler.space
        macs = space.macs(branch) + self.scheduler.macs
        return Choice(branch, macs, macs / space.macs(space.full), level.accuracy, self.weights)


def better_at(levels: Sequence[Scheduled], budget: float) -> Scheduled | None:
    """The level that `budget` belongs to, where the scheduler is better there than the lookup table."""
    below = bisect.bisect_right(levels, budget, key=lambda level: level.budget)
    return levels[below - 1] if below and levels[below - 1].better else None


def content_aware(run: Run | None, profile: Profile) -> ContentAware | None:
    """The scheduler of `run` where the profile found it better than its lookup table at some budget.

    One that was trained with a soft bound keeps to the budget here: a budget is a guarantee. Raises InvalidInputError
    where the run's scheduler is of no use.
    """
    if run is None or not any(level.better for level in profile.scheduled):
        return None
    scheduler = read_scheduler(run, profile.space)
    if scheduler is None:
        return None
    weights: WeightSet = "base" if run.adapter_path is None else "adapted"
    return ContentAware(replace(scheduler, bound="hard"), profile.scheduled, weights)
