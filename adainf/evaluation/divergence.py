"""How far branches stray from the full branch: what the search for good branches goes by."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from adainf.evaluation import images
from adainf.evaluation.prefixes import scores_of_each
from adainf.evaluation.subject import BATCH, Subject

__all__ = ["FullBranchDivergence", "search_images"]

_FEWEST, _MOST = 16, 256


def search_images(images_in_all: int, count: int, tries: int) -> int:
    """How many pictures a search looks at, so that its `tries` cost about as much as measuring `count` branches."""
    return min(images_in_all, _MOST, max(_FEWEST, images_in_all * count // max(1, tries)))


class FullBranchDivergence:
    """Mean cross-entropy of branches' scores to the full branch's probabilities on some of a subject's pictures.

    It ranks branches with far fewer pictures than counting right answers does, and needs no labels.
    """

    def __init__(self, subject: Subject, rows: Sequence[int], advance: Callable[[int], None]) -> None:
        """rows: of the subject's pictures. advance: told after each batch how many branches it went along."""
        self._subject = subject
        self._backbone = subject.engine.backbone
        self._rows = rows
        self._advance = advance
        self._targets: list[Tensor] = []
        self._resolution = 0
        self._prepared: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, resolution: int, keeps: Sequence[tuple[bool, ...]]) -> list[float]:
        """The divergence along each of `keeps` at `resolution`, in nats."""
        if not self._targets:
            native = self._batches(self._backbone.native_resolution)
            self._targets = [self._backbone(batch).float().softmax(dim=1) for batch in native]
        if resolution != self._resolution:
            # Only one resolution's inputs are held: they may be large.
            self._resolution, self._prepared = resolution, []
            self._prepared = list(self._batches(resolution))
        sums = dict.fromkeys(keeps, 0.0)
        for batch, target in zip(self._prepared, self._targets, strict=True):
            for keep, scores in scores_of_each(self._backbone, batch, keeps):
                sums[keep] += float(functional.cross_entropy(scores.float(), target, reduction="sum"))
            self._advance(len(keeps) * len(batch))
        return [sums[keep] / len(self._rows) for keep in keeps]

    def _batches(self, resolution: int) -> Iterator[Tensor]:
        for first in range(0, len(self._rows), BATCH):
            paths = [self._subject.paths[row] for row in self._rows[first : first + BATCH]]
            yield self._subject.prepare(map(images.decode, paths), resolution)
