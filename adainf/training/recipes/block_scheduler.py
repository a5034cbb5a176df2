"""The recipe `paper`: train a content-aware scheduler together with an adapter (Xu et al., AdaInf, 2024).

The scheduler concatenates a picture's embedding after the first block with an MLP's embedding of its budget, and
predicts for each further block the probability of keeping it. Keep bits are sampled with the Gumbel trick, in training
only. The loss is the cross-entropy plus λ times the MACs by which a picture exceeds its budget; each picture's budget
is drawn uniformly.

Three deliberate differences from the authors' code: the embedding is taken after the first block, where it depends on
the picture, not before; budgets and noise are redrawn each step; both loss terms are means over the batch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adainf.backbones import Backbone
from adainf.backbones.adapters import Adapter
from adainf.branch import BranchSpace
from adainf.profile import write_atomically
from adainf.schedulers.block_scheduler import Bound, PaperScheduler
from adainf.training.data.views import Batch
from adainf.training.devices import half, uploaded
from adainf.training.ranks import Ranks
from adainf.training.recipes.knapsack import Knapsack
from adainf.training.recipes.recipe import StepOutcome

__all__ = ["PaperRecipe", "Scheduler", "draw_bits", "embedding", "walk"]

_TEMPERATURE = 1.0
_WIDTH = 64
_FILE = "scheduler.safetensors"
_PREFIX = "scheduler."
# Start with most blocks kept (88 %), close to the full network that the weights were trained for.
_FIRST_LOG_ODDS = 2.0
# Seed component that keeps budgets and noise independent of the views.
_STREAM = 1


def embedding(hidden: Tensor) -> Tensor:
    """Return the scheduler's view of each picture (batch, channels): its hidden values averaged over positions.

    hidden: feature maps (batch, channels, height, width), or tokens (batch, tokens, channels).
    """
    return hidden.mean(dim=(2, 3)) if hidden.ndim == 4 else hidden.mean(dim=1)


class Scheduler(nn.Module):
    """The scheduler's network: log-odds of keeping each block, from embeddings and budgets."""

    def __init__(self, width: int, blocks: int, seed: int) -> None:
        """Initialise the parameters from `seed`.

        width: of the embedding. blocks: number of blocks that may be skipped.
        """
        super().__init__()
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.budget = nn.Sequential(nn.Linear(1, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH))
            last = nn.Linear(_WIDTH, blocks)
            self.joined = nn.Sequential(nn.Linear(width + _WIDTH, _WIDTH), nn.ReLU(), last)
        nn.init.constant_(last.bias, _FIRST_LOG_ODDS)

    def forward(self, embeddings: Tensor, budgets: Tensor) -> Tensor:
        """Return log-odds (batch, blocks) for embeddings (batch, width) and budgets (batch,), fractions of all MACs."""
        normalised = functional.layer_norm(embeddings, embeddings.shape[1:])
        scores: Tensor = self.joined(torch.cat([normalised, self.budget(budgets[:, None])], dim=1))
        return scores

    def frozen(self, bound: Bound, space: BranchSpace) -> PaperScheduler:
        """Return the scheduler for inference, with copies of the current parameters."""
        tensors = {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}
        return PaperScheduler(tensors, bound, space)


def draw_bits(log_odds: Tensor, noise: Tensor, chosen: Callable[[Tensor], Tensor]) -> Tensor:
    """Return keep bits (batch, blocks) of exactly 0 and 1, with the gradients of the Gumbel trick's soft bits.

    noise: (batch, blocks), the difference of two Gumbel variables each. chosen: maps noisy log-odds to the blocks that
    run. With the hard bound it projects onto the budgets, so that training sees only block sets that may run.
    """
    noisy = (log_odds + noise) / _TEMPERATURE
    soft = noisy.sigmoid()
    hard = chosen(noisy.detach()).to(soft)
    return hard + (soft - soft.detach())  # summed in this order, the bits are exactly 0 and 1


class PaperRecipe:
    """A recipe that trains scheduler and adapter jointly, at the native resolution."""

    name: Literal["paper"] = "paper"

    def __init__(
        self,
        teacher: Backbone,
        adapter: Adapter,
        space: BranchSpace,
        *,
        bound: Bound,
        overrun_weight: float,
        batch: int,
        seed: int,
        ranks: Ranks,
    ) -> None:
        """Create the scheduler and the tensors of its costs.

        teacher: the frozen full model, whose answers replace missing labels. overrun_weight: λ, for MACs as fractions
        of the full branch's. batch: views per step, over all ranks.
        """
        self.teacher = teacher
        self.adapter = adapter
        self.space = space
        self.bound = bound
        self._overrun_weight = overrun_weight
        side = space.native_resolution
        device = next(teacher.parameters()).device
        with torch.no_grad():
            hidden = teacher.step(0, teacher.stem(torch.zeros(1, 3, side, side, device=device)), True)
        self.scheduler = Scheduler(embedding(hidden).shape[1], sum(space.droppable), seed).to(device)
        own = {f"{_PREFIX}{name}": parameter for name, parameter in self.scheduler.named_parameters()}
        self.parameters = adapter.parameters | own
        self.statistics = adapter.statistics
        self._batch = batch
        self._seed = seed
        self._ranks = ranks
        parts = space.parts[side]
        full = space.macs(space.full)
        dearer = np.subtract(parts.blocks, parts.shortcuts)[list(space.droppable)]
        self._fractions = torch.tensor(dearer / full, dtype=torch.float32, device=device)
        # Only the costs of the frozen scheduler are used here; training does not change them.
        self._costs = self.scheduler.frozen(bound, space)
        self._always = 1 - float(dearer.sum()) / full + self._costs.macs / full
        self._knapsack = Knapsack(self._costs.projection, device)

    def resolutions(self, step: int) -> Sequence[int]:  # noqa: ARG002
        return (self.space.native_resolution,)

    def learn(self, batch: Batch) -> StepOutcome:
        images = batch.inputs[self.space.native_resolution]
        budgets, noise = self._drawn(batch.step)
        allowed = uploaded(torch.tensor(budgets, dtype=torch.float32), images.device)
        room = uploaded(torch.from_numpy(self._costs.room(budgets)), images.device)
        backbone = self.adapter.backbone
        with half(images.device):
            hidden = backbone.step(0, backbone.stem(images), True)
            embeddings = embedding(hidden.float())
        log_odds = self.scheduler(embeddings, allowed)
        bits = draw_bits(log_odds, uploaded(noise, images.device), lambda odds: self._chosen(odds, room))
        with half(images.device):
            scores = walk(backbone, hidden, bits).float()
            target = batch.labels
            if target is None:
                with torch.no_grad():
                    target = self.teacher(images).float().softmax(dim=1)
        macs = self._always + bits @ self._fractions
        overrun = functional.relu(macs - allowed).mean()
        loss = functional.cross_entropy(scores, target) + self._overrun_weight * overrun
        loss.backward()  # type: ignore[no-untyped-call]
        self.adapter.gather()
        truth = target if target.ndim == 1 else target.argmax(dim=1)
        return StepOutcome(loss.detach(), (scores.argmax(dim=1) == truth).float().mean())

    def _chosen(self, log_odds: Tensor, room: Tensor) -> Tensor:
        return log_odds > 0 if self.bound == "soft" else self._knapsack.kept(log_odds, room)

    def _drawn(self, step: int) -> tuple[np.ndarray, Tensor]:
        """Draw this process's budgets (views,) and noise (views, blocks)."""
        draw = np.random.default_rng((self._seed, step, _STREAM))
        own = self._ranks.own(self._batch)
        rows = slice(own.start, own.stop)
        budgets = draw.uniform(size=self._batch)[rows]
        gumbel = draw.gumbel(size=(2, self._batch, len(self._fractions)))[:, rows]
        return budgets, torch.tensor(gumbel[0] - gumbel[1], dtype=torch.float32)

    def apply(self) -> None:
        self.adapter.apply()

    def save(self, folder: Path) -> Sequence[str]:
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.scheduler.state_dict().items()}
        write_atomically(folder / _FILE, save(tensors))
        if not self.adapter.state():
            return (_FILE,)
        self.adapter.save(folder / "adapter.safetensors")
        return "adapter.safetensors", _FILE


def walk(backbone: Backbone, hidden: Tensor, bits: Tensor) -> Tensor:
    """Return scores (batch, classes) from the first block's output, gating each picture's blocks by its bits.

    bits: (batch, blocks that may be skipped). Every block is computed for every picture: the gradient of a skipped
    block's bit needs that block's output.
    """
    number = 0
    for index in range(1, len(backbone.blocks)):
        through = backbone.step(index, hidden, True)
        if not backbone.droppable[index]:
            hidden = through
            continue
        bit = bits[:, number].to(through.dtype).view(-1, *(1,) * (hidden.ndim - 1))
        around = backbone.step(index, hidden, False).to(through.dtype)
        hidden = torch.lerp(around, through, bit)  # exact at 0 and 1
        number += 1
    return backbone.scores(hidden)
