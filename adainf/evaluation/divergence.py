"""How far branches stray from the truth: what the search for good branches goes by."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from adainf.backbones.prefixes import scores_of_each
from adainf.branch import Branch, BranchSpace
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import BATCH, Subject
from adainf.media import images
from adainf.profile import WeightSet

__all__ = ["SCALES", "ScoreDivergence", "best_strength", "best_zoom", "cross_entropies", "search_images"]

_FEWEST, _MOST = 16, 256
_ZOOMS = (0.0, 0.2, 0.35, 0.5)
_STRENGTHS = (1.0, 0.75, 0.5, 0.25)

# Skipped blocks change how spread the scores are, which costs no right answer but dominates a cross-entropy: without
# these factors it ranked branches of equal MACs against their accuracy (correlation -0.24 at half the full MACs,
# with them 0.88; EfficientNet-Lite0, 250 photographs).
# Above 1 as well: label smoothing makes a network say less than it knows; EfficientNet-Lite0's full branch wants 1.7.
_SCALES = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
SCALES = len(_SCALES)
"""How many scales of the scores are tried."""


def search_images(images_in_all: int, count: int, tries: int) -> int:
    """How many pictures a search looks at, so that its `tries` cost about as much as measuring `count` branches."""
    return min(images_in_all, _MOST, max(_FEWEST, images_in_all * count // max(1, tries)))


class ScoreDivergence:
    """Mean cross-entropy of branches' scores to the labels, or to the full branch's probabilities without labels.

    Each branch's scores are scaled by the best of a few factors. Ranks branches with far fewer pictures than counting
    right answers does.
    """

    def __init__(
        self, subject: Subject, rows: Sequence[int], advance: Callable[[int], None], weights: WeightSet = "base"
    ) -> None:
        """rows: of the subject's pictures, which all its processes share. advance: told after each batch how many
        branches it went along.

        weights: the set that the branches run with.
        """
        self._subject = subject
        self._backbone = subject.backbone(weights)
        own = subject.ranks.own(len(rows))
        self._rows, self._count = rows[own.start : own.stop], len(rows)
        self._advance = advance
        self._targets: list[Tensor] = []
        self._resolution = 0
        self._prepared: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, resolution: int, keeps: Sequence[tuple[bool, ...]]) -> list[float]:
        """The divergence along each of `keeps` at `resolution`, in nats."""
        if not self._targets:
            self._targets = list(self._truth())
        if resolution != self._resolution:
            # Only one resolution's inputs are held: they may be large.
            self._resolution, self._prepared = resolution, []
            self._prepared = list(self._batches(resolution))
        sums = {keep: torch.zeros(len(_SCALES)) for keep in keeps}
        for batch, target in zip(self._prepared, self._targets, strict=True):
            for keep, scores in scores_of_each(self._backbone, batch, keeps):
                sums[keep] += cross_entropies(scores.float(), target)
            self._advance(len(keeps) * len(batch))
        totals = self._subject.ranks.total(torch.stack([sums[keep] for keep in keeps]))
        return (totals.min(dim=1).values / self._count).tolist()

    def _truth(self) -> Iterator[Tensor]:
        """Class indices (batch,), or probabilities (batch, classes), a batch at a time."""
        if self._subject.labels is None:
            for batch in self._batches(self._backbone.native_resolution):
                yield self._subject.engine.backbone(batch).float().softmax(dim=1)
        else:
            for rows in self._batches_of_rows():
                yield torch.from_numpy(self._subject.labels[rows])

    def _batches(self, resolution: int) -> Iterator[Tensor]:
        for rows in self._batches_of_rows():
            yield self._subject.prepare((images.decode(self._subject.paths[row]) for row in rows), resolution)

    def _batches_of_rows(self) -> Iterator[list[int]]:
        for first in range(0, len(self._rows), BATCH):
            yield list(self._rows[first : first + BATCH])


def best_zoom(subject: Subject, space: BranchSpace, seed: int) -> float:
    """The zoom with which all blocks at the resolutions below the native one stray least, on the whole.

    One number for all of them, since a few hundred pictures cannot tell a good view from a lucky one at each.
    """
    sides = [side for side in space.parts if side < space.native_resolution]
    if not sides:
        return 0.0
    rows = images.spread(range(len(subject.paths)), _MOST, seed)
    strays = dict.fromkeys(_ZOOMS, 0.0)
    with progress("looking closer", len(rows) * len(sides) * len(_ZOOMS), ranks=subject.ranks) as advance:
        for zoom in _ZOOMS:
            subject.zoom_by(zoom)
            divergence = ScoreDivergence(subject, rows, advance)
            strays[zoom] = sum(divergence(side, [space.full.keep])[0] for side in sides)
    return min(strays, key=strays.__getitem__)


def best_strength(subject: Subject, space: BranchSpace, ceiling: float | None, seed: int) -> float:
    """The strength of the subject's adapter with which its branches stray least, on the whole.

    ceiling: the most MACs that it was trained for, a fraction of the full branch's: with all blocks, each resolution
    within that is tried. None: a scheduler was trained together with it, so it stays as it is.
    """
    sides = [
        side for side in space.parts if ceiling is not None and space.fraction(Branch(side, space.full.keep)) <= ceiling
    ]
    if not sides or subject.adapted is None:
        return 1.0
    rows = images.spread(range(len(subject.paths)), _MOST, seed)
    strays: dict[float, float] = {}
    with progress("weighing the adapter", len(rows) * len(sides) * len(_STRENGTHS), ranks=subject.ranks) as advance:
        for strength in _STRENGTHS:
            divergence = ScoreDivergence(subject.weakened(strength), rows, advance, "adapted")
            strays[strength] = sum(divergence(side, [space.full.keep])[0] for side in sides)
    return min(strays, key=strays.__getitem__)


def cross_entropies(scores: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy (factors,), summed over the pictures, of scores (pictures, classes) under each factor."""
    on_device = target.to(scores.device)
    return torch.stack(
        [functional.cross_entropy(scores * scale, on_device, reduction="sum").cpu() for scale in _SCALES]
    )
