"""The paper's content-aware scheduler at inference time: numpy only, without the noise of training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adainf.base import documents
from adainf.base.errors import InvalidInputError
from adainf.branch import BranchSpace
from adainf.profile import Profile
from adainf.run import Run
from adainf.schedulers.projection import Projection

__all__ = ["Bound", "PaperScheduler", "read_scheduler", "scheduler_macs"]

Bound = Literal["hard", "soft"]
Array = NDArray[np.float32]

_LAYERS = ("budget.0", "budget.2", "joined.0", "joined.2")
_SPREAD = 1e-5


def scheduler_macs(tensors: Mapping[str, NDArray[np.float32]]) -> int:
    """Return the MACs of one decision: those of the scheduler's linear layers."""
    return sum(tensors[f"{layer}.weight"].size for layer in _LAYERS)


@dataclass(frozen=True)
class PaperScheduler:
    """The scheduler that decides which blocks run for a picture under a budget (Xu et al., AdaInf, 2024, section 3).

    The picture's embedding after the first block, joined with an MLP's embedding of the budget, yields a score for
    each further block: the log-odds of keeping it. bound: `soft` keeps every block whose odds exceed one, as the paper
    does, and may exceed the budget. `hard` keeps the likeliest set of blocks that fits the budget, the scheduler's own
    MACs included: the odds of a set are the product of its blocks' odds, so it is the set with the largest sum of
    log-odds.

    tensors: by the layer names of the trained module. space: of the network that it was trained with. full_macs: the
    MACs that budgets are fractions of, those of a family's full branch; None: of its own network's.
    """

    tensors: Mapping[str, Array]
    bound: Bound
    space: BranchSpace
    full_macs: int | None = None

    @cached_property
    def projection(self) -> Projection:
        """The projection of scores onto budgets, at the native resolution."""
        return Projection(self.space.parts[self.space.native_resolution], self.space.droppable)

    @property
    def macs(self) -> int:
        """MACs of one decision."""
        return scheduler_macs(self.tensors)

    @property
    def floor(self) -> float:
        """The smallest budget that is feasible, the scheduler's own MACs included."""
        return (self.projection.least + self.macs) / self.budgets_of

    @property
    def budgets_of(self) -> int:
        """The MACs that budgets are fractions of."""
        return self.full_macs or self.space.macs(self.space.full)

    def at(self, budget: float) -> Callable[[Array], NDArray[np.bool_]]:
        """Return `keeps` specialised to one hard budget: a function from embedding (width,) to blocks (blocks,).

        Everything that depends on the budget alone is computed in advance, because a frame waits for the call.
        """
        weight = self.tensors["joined.0.weight"]
        (budget_embedding,) = self._budget_embedding(np.array([budget]))
        width = weight.shape[1] - len(budget_embedding)
        first, offset = weight[:, :width], weight[:, width:] @ budget_embedding + self.tensors["joined.0.bias"]
        last, bias = self.tensors["joined.2.weight"], self.tensors["joined.2.bias"]
        likeliest = self.projection.within(int(self.room(np.array([budget]))[0]))

        def decide(embedding: Array) -> NDArray[np.bool_]:
            centred = embedding - embedding.sum() / width
            normalised = centred / math.sqrt(centred @ centred / width + _SPREAD)
            return likeliest(last @ np.maximum(first @ normalised + offset, 0) + bias)

        return decide

    def scores(self, embeddings: Array, budgets: NDArray[np.float64]) -> Array:
        """Return the log-odds (pictures, skippable blocks) of keeping each skippable block.

        embeddings: (pictures, width), after the first block. budgets: (pictures), fractions of the full branch's MACs.
        """
        centred = embeddings - embeddings.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.float32(_SPREAD))
        hidden = np.concatenate([centred / spread, self._budget_embedding(budgets)], axis=1)
        return self._linear("joined.2", np.maximum(self._linear("joined.0", hidden), 0))

    def _budget_embedding(self, budgets: NDArray[np.float64]) -> Array:
        own = np.minimum(1, budgets * (self.budgets_of / self.space.macs(self.space.full)))  # as it was trained
        hidden = self._linear("budget.0", own[:, None].astype(np.float32))
        return self._linear("budget.2", np.maximum(hidden, 0))

    def _linear(self, layer: str, values: Array) -> Array:
        result: Array = values @ self.tensors[f"{layer}.weight"].T + self.tensors[f"{layer}.bias"]
        return result

    def keeps(self, embeddings: Array, budgets: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which blocks run (pictures, blocks) for each picture under its budget."""
        return self.projection.keeps(self.kept(self.scores(embeddings, budgets), budgets))

    def kept(self, scores: Array, budgets: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which skippable blocks run (pictures, skippable blocks), given their scores."""
        if self.bound == "soft":
            return scores > 0
        return self.projection.project(scores, self.room(budgets))

    def room(self, budgets: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the MACs that each budget leaves for the backbone."""
        return room(budgets, self.budgets_of, self.macs)

    @classmethod
    def read(cls, path: Path, bound: Bound, space: BranchSpace, full_macs: int | None = None) -> "PaperScheduler":
        """Read a safetensors file; raises InvalidInputError if it is damaged or belongs to another backbone."""
        from safetensors.numpy import load_file

        with documents.refusing(f"scheduler {path}: is damaged"):
            tensors = load_file(path)
        blocks = sum(space.droppable)
        with documents.refusing(f"scheduler {path}: is damaged"):
            try:
                found = len(tensors["joined.2.bias"])
                scheduler_macs(tensors)
            except KeyError as error:
                raise InvalidInputError(f"scheduler {path}: has no tensor {error}") from None
        if found != blocks:
            raise InvalidInputError(f"scheduler {path}: decides on {found} blocks; the backbone has {blocks} to skip")
        return cls(tensors, bound, space, full_macs)


def read_scheduler(run: Run, profile: Profile) -> PaperScheduler | None:
    """Read a run's paper scheduler; None if it has none. Raises InvalidInputError if the file is unusable.

    profile: of the run; the scheduler belongs to the network that the run adapted, without an adapter to the reference.
    """
    bounds: dict[str, Bound] = {"paper-hard": "hard", "paper-soft": "soft"}
    bound = bounds.get(run.manifest.scheduler)
    if bound is None or run.scheduler_path is None:
        return None
    family = profile.space
    return PaperScheduler.read(run.scheduler_path, bound, family.networks[profile.scheduled_network], family.full_macs)


def room(budgets: NDArray[np.float64], full: int, own: int) -> NDArray[np.int64]:
    """Return the MACs left by each budget, a fraction of `full` MACs, after the scheduler spends `own`."""
    # Readers compare quotients, so a branch whose own fraction equals the budget must fit despite rounding.
    nearest = np.rint(budgets * full)
    within: NDArray[np.int64] = np.where(nearest / full <= budgets, nearest, nearest - 1).astype(np.int64) - own
    return within
