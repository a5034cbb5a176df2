"""The recipe `distil`: a frozen full model teaches the cheap branches; labels are optional.

In-place distillation with the sandwich rule (Yu and Huang, "Universally Slimmable Networks and Improved Training
Techniques", 2019), except that the teacher is a frozen copy: the full branch must not lose accuracy to the cheap ones.
Any other network of the same classes, such as a larger one of the family, may be the teacher instead.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adainf.backbones import Backbone
from adainf.backbones.adapters import Adapter
from adainf.backbones.prefixes import scores_of_each
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace
from adainf.preprocessing import Preprocessing
from adainf.training.data.views import Batch
from adainf.training.devices import half
from adainf.training.recipes.recipe import StepOutcome

__all__ = ["Distillation", "renormalised"]

_MOST_DRAWN = 2


class Distillation:
    """A recipe that trains, each step at one resolution, all blocks, the cheapest branch, and one or two drawn ones."""

    name: Literal["distil"] = "distil"

    def __init__(
        self,
        teacher: Backbone,
        adapter: Adapter,
        space: BranchSpace,
        *,
        resolutions: Sequence[int],
        ceiling: float,
        seed: int,
        menu: Sequence[Branch] = (),
    ) -> None:
        """Create the recipe for a frozen teacher and the adapter of the network that learns, which may be the same.

        space: branches of the network that learns. ceiling: the most MACs of a drawn branch, a fraction of the full
        branch's.
        menu: branches to draw from, at least one per resolution; empty means every branch within the ceiling.
        Raises InvalidInputError if a resolution has no branch within the ceiling.
        """
        self.teacher = teacher
        self.adapter = adapter
        self.parameters = adapter.parameters
        self.statistics = adapter.statistics
        self._space = space
        self._sides = tuple(resolutions)
        self._ceiling = ceiling
        self._seed = seed
        self._menu = {side: [branch for branch in menu if branch.resolution == side] for side in self._sides}
        for side in self._sides:
            cheapest = space.fraction(space.cheapest_at(side))
            if cheapest > ceiling:
                raise InvalidInputError(
                    f"ceiling {ceiling}: at {side} px the cheapest branch takes {cheapest:.3f} of the MACs; "
                    "raise the ceiling or leave the resolution out"
                )

    def students(self, step: int) -> list[Branch]:
        """Return the branches trained in this step, all at one resolution."""
        draw = np.random.default_rng((self._seed, step))
        side = self._sides[draw.integers(len(self._sides))]
        complete = Branch(side, self._space.full.keep)
        count = draw.integers(1, _MOST_DRAWN + 1)
        if menu := self._menu[side]:
            cheapest = min(menu, key=self._space.macs)
            drawn = [menu[draw.integers(len(menu))] for _ in range(count)]
        else:
            cheapest = self._space.cheapest_at(side)
            drawn = [self._drawn(complete, cheapest, draw) for _ in range(count)]
        return list(dict.fromkeys([complete, cheapest, *drawn]))

    def _drawn(self, complete: Branch, cheapest: Branch, draw: np.random.Generator) -> Branch:
        """Draw a branch: drop blocks in random order until its MACs are within a uniformly drawn level."""
        highest = min(self._ceiling, self._space.fraction(complete))
        level = draw.uniform(self._space.fraction(cheapest), highest)
        keep = list(complete.keep)
        for block in draw.permutation([block for block, kept in enumerate(cheapest.keep) if not kept]):
            if self._space.fraction(Branch(complete.resolution, tuple(keep))) <= level:
                break
            keep[block] = False
        return Branch(complete.resolution, tuple(keep))

    def resolutions(self, step: int) -> Sequence[int]:
        return self.teacher.native_resolution, self.students(step)[0].resolution

    def learn(self, batch: Batch) -> StepOutcome:
        students = self.students(batch.step)
        inputs = batch.inputs[students[0].resolution]
        with half(inputs.device):
            with torch.no_grad():
                shown = renormalised(
                    batch.inputs[self.teacher.native_resolution],
                    self.adapter.backbone.preprocessing,
                    self.teacher.preprocessing,
                )
                taught = self.teacher(shown).float().log_softmax(dim=1)
            # Blocks that the branches share run once, forward and backward, which saves a quarter of the work.
            of_each = dict(scores_of_each(self.adapter.backbone, inputs, [student.keep for student in students]))
        scores = torch.stack([of_each[student.keep] for student in students]).float()
        learnt, answers, taught = scores.log_softmax(dim=2), taught.argmax(dim=1), taught.expand_as(scores)
        loss = functional.kl_div(learnt, taught, reduction="sum", log_target=True) / learnt[..., 0].numel()
        if batch.labels is not None:
            labels = batch.labels.repeat(len(students))
            loss = loss + functional.cross_entropy(scores.flatten(0, 1), labels)
        torch.autograd.backward(loss)
        self.adapter.gather()
        return StepOutcome(loss.detach(), (scores.argmax(dim=2) == answers).float().mean())

    def apply(self) -> None:
        self.adapter.apply()

    def save(self, folder: Path) -> Sequence[str]:
        self.adapter.save(folder / "adapter.safetensors")
        return ("adapter.safetensors",)


def renormalised(images: Tensor, made_for: Preprocessing, wanted: Preprocessing) -> Tensor:
    """Return images (views, 3, side, side) that are normalised for one network as another network expects them."""
    if (made_for.mean, made_for.std) == (wanted.mean, wanted.std):
        return images
    mean, std, to_mean, to_std = (
        torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        for values in (made_for.mean, made_for.std, wanted.mean, wanted.std)
    )
    return (images * std + mean - to_mean) / to_std
