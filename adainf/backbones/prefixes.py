"""Many branches on the same pictures, with what they share run once."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from adainf.backbones import Backbone

__all__ = ["scores_of_each"]

Keep = tuple[bool, ...]


def scores_of_each(backbone: Backbone, images: Tensor, keeps: Sequence[Keep]) -> Iterator[tuple[Keep, Tensor]]:
    """Each of `keeps` once, with its scores (batch, classes) of images (batch, 3, resolution, resolution).

    The branches are walked as a trie, depth first: blocks before the point where two branches part run once, and
    no more activations are held than one branch has blocks.
    """
    yield from _below(backbone, backbone.stem(images), 0, sorted(set(keeps), reverse=True))


def _below(backbone: Backbone, hidden: Tensor, index: int, keeps: Sequence[Keep]) -> Iterator[tuple[Keep, Tensor]]:
    if index == len(backbone.blocks):
        yield keeps[0], backbone.scores(hidden)
        return
    for kept in (True, False):
        along = [keep for keep in keeps if keep[index] == kept]
        if along:
            yield from _below(backbone, backbone.step(index, hidden, kept), index + 1, along)
