"""Accuracy of a small network under budgets, with its lookup table and with the paper's scheduler, all in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adainf.backbones import Backbone
from adainf.backbones.prefixes import scores_of_each
from adainf.branch import Branch, BranchSpace
from adainf.evaluation.sample import Divergence, sample
from adainf.schedulers.block_scheduler import PaperScheduler
from adainf.training.data.views import normalised
from adainf.training.devices import half
from adainf.training.pretrain import Data
from adainf.training.recipes.block_scheduler import embedding, walk

__all__ = ["BUDGETS", "Scheduled", "Study"]

BUDGETS = (0.4, 0.5, 0.6, 0.8, 1.0)
"""Shares of the full branch's MACs."""

_AT_ONCE = 2500
_BRANCHES = 128
_SEARCHED_ON = 1000
_CHOOSES, _REPORTS = slice(0, None, 2), slice(1, None, 2)
_Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A scheduler's outcome under one budget.

    right: (pictures,). macs, most: mean and maximum over the pictures, fractions of the full branch's.
    """

    right: _Bits
    macs: float
    most: float


@dataclass(frozen=True)
class Study:
    """Test pictures on the network's device: every second one selects branches, the others are reported on."""

    space: BranchSpace
    network: Backbone
    pictures: Tensor
    labels: Tensor

    @classmethod
    def of(cls, data: Data, network: Backbone, space: BranchSpace, device: torch.device) -> "Study":
        """Prepare the pictures for `network` on the device."""
        inputs = normalised(data.pictures.to(device), network.preprocessing)
        return cls(space, network, inputs, data.labels.to(device))

    @cached_property
    def full(self) -> float:
        """Accuracy of the full branch with the base weights, on the reported pictures."""
        return float(self.right(self.network, [self.space.full])[0, _REPORTS].mean())

    def branches(self, network: Backbone) -> set[Branch]:
        """Return the branches worth measuring with these weights, selected as by `adainf calibrate`."""
        return set(sample(self.space, _BRANCHES, self._divergence(network), seed=0))

    def _divergence(self, network: Backbone) -> Divergence:
        pictures, labels = self.pictures[_CHOOSES][:: self._stride], self.labels[_CHOOSES][:: self._stride]

        @torch.inference_mode()
        def divergence(_resolution: int, keeps: Sequence[tuple[bool, ...]]) -> list[float]:
            with half(pictures.device):
                found = {keep: scores.float() for keep, scores in scores_of_each(network, pictures, keeps)}
            losses = torch.stack([functional.cross_entropy(found[keep], labels) for keep in keeps])
            return [float(loss) for loss in losses.tolist()]

        return divergence

    @property
    def _stride(self) -> int:
        return max(1, len(self.labels) // 2 // _SEARCHED_ON)

    @torch.inference_mode()
    def right(self, network: Backbone, branches: Sequence[Branch]) -> _Bits:
        """Return whether each picture is answered right along each branch (branches, pictures)."""
        row_of = {branch.keep: row for row, branch in enumerate(branches)}
        found = torch.empty(len(branches), len(self.labels), dtype=torch.bool, device=self.labels.device)
        for first in range(0, len(self.labels), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            with half(self.pictures.device):
                for keep, scores in scores_of_each(network, self.pictures[rows], list(row_of)):
                    found[row_of[keep], rows] = scores.argmax(dim=1) == self.labels[rows]
        return found.cpu().numpy()

    def table(self, measured: Sequence[_Bits], branches: Sequence[Branch]) -> dict[float, _Bits]:
        """Return, for each budget, which pictures the best branch and weights within it answer right (pictures,).

        measured: the output of `right` for each set of weights. The selecting half of the pictures decides.
        """
        macs = np.array([self.space.fraction(branch) for branch in branches])
        found = {}
        for budget in BUDGETS:
            fitting = np.flatnonzero(macs <= budget + 1e-9)
            rows = np.concatenate([right[fitting] for right in measured])
            found[budget] = rows[rows[:, _CHOOSES].mean(axis=1).argmax()]
        return found

    @torch.inference_mode()
    def scheduled(self, network: Backbone, scheduler: PaperScheduler, *, shuffled: bool) -> dict[float, Scheduled]:
        """Return the scheduler's outcome under each budget.

        shuffled: it sees another picture's embedding.
        """
        hidden = [self._after_first_block(network, first) for first in range(0, len(self.labels), _AT_ONCE)]
        embeddings = np.concatenate([embedding(batch.float()).cpu().numpy() for batch in hidden])
        if shuffled:
            embeddings = embeddings[np.random.default_rng(0).permutation(len(embeddings))]
        return {budget: self._under(budget, network, scheduler, hidden, embeddings) for budget in BUDGETS}

    def _after_first_block(self, network: Backbone, first: int) -> Tensor:
        with half(self.pictures.device):
            return network.step(0, network.stem(self.pictures[first : first + _AT_ONCE]), True)

    def _under(
        self,
        budget: float,
        network: Backbone,
        scheduler: PaperScheduler,
        hidden: Sequence[Tensor],
        embeddings: NDArray[np.float32],
    ) -> Scheduled:
        budgets = np.full(len(embeddings), budget)
        kept = scheduler.kept(scheduler.scores(embeddings, budgets), budgets)
        bits = torch.from_numpy(kept).float().to(self.labels.device)
        right = []
        for number, batch in enumerate(hidden):
            rows = slice(number * _AT_ONCE, number * _AT_ONCE + len(batch))
            with half(batch.device):
                right.append(walk(network, batch, bits[rows]).argmax(dim=1) == self.labels[rows])
        macs = (scheduler.projection.macs(kept) + scheduler.macs) / self.space.macs(self.space.full)
        return Scheduled(torch.cat(right).cpu().numpy(), float(macs.mean()), float(macs.max()))

    @staticmethod
    def better(first: _Bits, second: _Bits) -> _Bits:
        """Return whichever of two outcomes is more often right on the selecting pictures; the first on a tie."""
        return second if second[_CHOOSES].mean() > first[_CHOOSES].mean() else first

    @staticmethod
    def reported(right: _Bits) -> float:
        """Return the share of right answers on the reported pictures."""
        return float(right[_REPORTS].mean())
