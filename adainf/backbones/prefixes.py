"""Many branches on the same pictures, with what they share run once."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone

__all__ = ["scores_of_each", "scores_of_wanted"]

Keep = tuple[bool, ...]

Passing = Callable[[Keep, Tensor], None]
"""Is given which blocks ran so far, and what came out of the last of them or of its shortcut (batch, …)."""


def scores_of_each(
    backbone: Backbone, images: Tensor, keeps: Sequence[Keep], passing: Passing | None = None
) -> Iterator[tuple[Keep, Tensor]]:
    """Each of `keeps` once, with its scores (batch, classes) of images (batch, 3, resolution, resolution).

    The branches are walked as a trie, depth first: blocks before the point where two branches part run once, and
    no more activations are held than one branch has blocks. passing: sees each of these once.
    """
    yield from _below(backbone, backbone.stem(images), 0, sorted(set(keeps), reverse=True), passing)


def _below(
    backbone: Backbone, hidden: Tensor, index: int, keeps: Sequence[Keep], passing: Passing | None
) -> Iterator[tuple[Keep, Tensor]]:
    if passing is not None:
        passing(keeps[0][:index], hidden)
    if index == len(backbone.blocks):
        yield keeps[0], backbone.scores(hidden)
        return
    for kept in (True, False):
        along = [keep for keep in keeps if keep[index] == kept]
        if along:
            yield from _below(backbone, backbone.step(index, hidden, kept), index + 1, along, passing)


def scores_of_wanted(
    backbone: Backbone, hidden: Tensor, index: int, wanted: Mapping[Keep, NDArray[np.intp]]
) -> Iterator[tuple[Keep, NDArray[np.intp], Tensor]]:
    """Each of `wanted` with the pictures that want it, and their scores (pictures, classes).

    hidden: what goes into block `index` (batch, …). wanted: ways that are alike before that block, each with the
    positions in the batch of the pictures that go it. What a picture's ways share runs once for it.
    """
    if index == len(backbone.blocks):
        for keep, positions in wanted.items():
            yield keep, positions, backbone.scores(hidden[torch.from_numpy(positions)])
        return
    for kept in (True, False):
        along = {keep: positions for keep, positions in wanted.items() if keep[index] == kept}
        if not along:
            continue
        together = np.unique(np.concatenate(list(along.values())))
        within = {keep: np.searchsorted(together, positions) for keep, positions in along.items()}
        stepped = backbone.step(index, hidden[torch.from_numpy(together)], kept)
        for keep, positions, scores in scores_of_wanted(backbone, stepped, index + 1, within):
            yield keep, together[positions], scores
