"""Running many branches on the same pictures, with shared prefixes run once."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone

__all__ = ["features_of_each", "scores_of_each", "scores_of_wanted"]

Keep = tuple[bool, ...]

Passing = Callable[[Keep, Tensor], None]
"""A callback with the keep decisions so far and the output (batch, …) of the last block or its shortcut."""


def scores_of_each(
    backbone: Backbone, images: Tensor, keeps: Sequence[Keep], passing: Passing | None = None
) -> Iterator[tuple[Keep, Tensor]]:
    """Yield each of `keeps` once, with its scores (batch, classes) of images (batch, 3, resolution, resolution).

    Runs as `features_of_each` does.
    """
    for keep, features in features_of_each(backbone, images, keeps, passing):
        yield keep, backbone.classified(features)


def features_of_each(
    backbone: Backbone, images: Tensor, keeps: Sequence[Keep], passing: Passing | None = None
) -> Iterator[tuple[Keep, Tensor]]:
    """Yield each of `keeps` once, with its pooled features (batch, width) of images (batch, 3, resolution, resolution).

    The branches form a trie that is traversed depth first: a prefix that branches share runs once, and at most one
    activation per block of a branch is in memory. passing: called once with each activation.
    """
    yield from _below(backbone, backbone.stem(images), 0, sorted(set(keeps), reverse=True), passing)


def _below(
    backbone: Backbone, hidden: Tensor, index: int, keeps: Sequence[Keep], passing: Passing | None
) -> Iterator[tuple[Keep, Tensor]]:
    if passing is not None:
        passing(keeps[0][:index], hidden)
    if index == len(backbone.blocks):
        yield keeps[0], backbone.features(hidden)
        return
    for kept in (True, False):
        along = [keep for keep in keeps if keep[index] == kept]
        if along:
            yield from _below(backbone, backbone.step(index, hidden, kept), index + 1, along, passing)


def scores_of_wanted(
    backbone: Backbone, hidden: Tensor, index: int, wanted: Mapping[Keep, NDArray[np.intp]]
) -> Iterator[tuple[Keep, NDArray[np.intp], Tensor]]:
    """Yield each branch of `wanted` with its pictures' positions in the batch and their scores (pictures, classes).

    hidden: the input of block `index` (batch, …). wanted: branches that agree before that block, each with the
    positions in the batch of its pictures. Blocks that a picture's branches share run once for that picture.
    """
    if index == len(backbone.blocks):
        for keep, positions in wanted.items():
            yield keep, positions, backbone.scores(hidden[torch.from_numpy(positions)])
        return
    for kept in (True, False):
        along = {keep: positions for keep, positions in wanted.items() if keep[index] == kept}
        if not along:
            continue
        rows = np.unique(np.concatenate(list(along.values())))
        within = {keep: np.searchsorted(rows, positions) for keep, positions in along.items()}
        stepped = backbone.step(index, hidden[torch.from_numpy(rows)], kept)
        for keep, positions, scores in scores_of_wanted(backbone, stepped, index + 1, within):
            yield keep, rows[positions], scores
