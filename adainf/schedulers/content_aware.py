"""At run time, the better of lookup table and content-aware scheduler, as measured by calibration."""

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adainf.branch import REFERENCE, Branch
from adainf.profile import Profile, Scheduled
from adainf.run import Run
from adainf.schedulers.block_scheduler import PaperScheduler, read_scheduler
from adainf.schedulers.lookup import Choice

__all__ = ["ContentAware", "better_at", "content_aware"]


@dataclass(frozen=True)
class ContentAware:
    """A run's scheduler, and the budgets at which it beats the lookup table (AdaInf, 2024, figure 2).

    scheduler: has a hard bound. levels: by rising budgets. network: what its branches name the network that the
    scheduler was trained with.
    """

    scheduler: PaperScheduler
    levels: Sequence[Scheduled]
    network: str = REFERENCE
    _deciding: dict[float, Callable[[NDArray[np.float32]], NDArray[np.bool_]]] = field(default_factory=dict)

    @property
    def resolution(self) -> int:
        """The resolution at which it decides, pixels a side."""
        return self.scheduler.space.native_resolution

    def level(self, budget: float) -> Scheduled | None:
        """Return its measurement for `budget`; None if the lookup table is better or the budget is infeasible."""
        return None if budget < self.scheduler.floor else better_at(self.levels, budget)

    def choose(self, embedding: NDArray[np.float32], level: Scheduled, budget: float) -> Choice:
        """Return the blocks for a picture's embedding (width,) within `budget`, the scheduler's own MACs included."""
        if budget not in self._deciding:
            self._deciding.clear()
            self._deciding[budget] = self.scheduler.at(budget)
        keep = self._deciding[budget](embedding)
        return self.choice(Branch(self.resolution, tuple(keep.tolist()), self.network), level)

    def choice(self, branch: Branch, level: Scheduled) -> Choice:
        """Return the choice for one of the scheduler's branches, the scheduler's own MACs included."""
        macs = self.scheduler.space.macs(branch) + self.scheduler.macs
        return Choice(branch, macs, macs / self.scheduler.budgets_of, level.accuracy)


def better_at(levels: Sequence[Scheduled], budget: float) -> Scheduled | None:
    """Return the level that `budget` falls into if the scheduler beats the lookup table there, else None."""
    below = bisect.bisect_right(levels, budget, key=lambda level: level.budget)
    return levels[below - 1] if below and levels[below - 1].better else None


def content_aware(run: Run | None, profile: Profile) -> ContentAware | None:
    """Return the scheduler of `run` if the profile found it better than the lookup table at some budget, else None.

    A scheduler trained with a soft bound gets a hard one here: a budget is a guarantee. Raises InvalidInputError if the
    run's scheduler is unusable.
    """
    if run is None or not any(level.better for level in profile.scheduled):
        return None
    scheduler = read_scheduler(run, profile)
    if scheduler is None:
        return None
    return ContentAware(replace(scheduler, bound="hard"), profile.scheduled, profile.scheduled_network)
