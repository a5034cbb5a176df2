"""Divergence of branches from the truth: the objective of the search for good branches."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from adainf.backbones.prefixes import scores_of_each
from adainf.branch import REFERENCE, Branch, BranchSpace
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import BATCH, Subject
from adainf.media import images

__all__ = ["SCALES", "ScoreDivergence", "best_scale", "best_strength", "best_zoom", "cross_entropies", "search_images"]

_FEWEST, _MOST = 16, 256
_ZOOMS = (0.0, 0.2, 0.35, 0.5)
_STRENGTHS = (1.0, 0.75, 0.5, 0.25)

# Skipping blocks changes the spread of the scores, which costs no right answer but dominates the cross-entropy.
# Without these factors, cross-entropy ranked branches of equal MACs contrary to their accuracy: correlation -0.24 at
# half the full MACs, against 0.88 with them (EfficientNet-Lite0, 250 photographs).
# Factors above 1 are needed too: label smoothing leaves a network underconfident; EfficientNet-Lite0's full branch fits
# best at 1.7.
_SCALES = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0)
SCALES = len(_SCALES)
"""Number of scale factors tried on the scores."""


def best_scale(losses: Sequence[float]) -> float:
    """Return the factor of the lowest loss; losses: one for each factor."""
    return _SCALES[min(range(SCALES), key=losses.__getitem__)]


def search_images(images_in_all: int, count: int, tries: int) -> int:
    """Return how many pictures a search of `tries` branches uses, to cost about as much as measuring `count` branches.

    Between 16 and 256, at most `images_in_all`.
    """
    return min(images_in_all, _MOST, max(_FEWEST, images_in_all * count // max(1, tries)))


class ScoreDivergence:
    """Mean cross-entropy of branches' scores to the labels, or without labels to the full branch's probabilities.

    Each branch's scores are scaled by its best factor. Cross-entropy ranks branches on far fewer pictures than accuracy
    needs.
    """

    def __init__(
        self, subject: Subject, rows: Sequence[int], advance: Callable[[int], None], network: str = REFERENCE
    ) -> None:
        """Create the divergence over some of the subject's pictures.

        rows: rows of the pictures, shared by all the subject's processes. network: the branches' network.
        advance: called after each batch with the number of forward passes (branches × pictures).
        """
        self._subject = subject
        self._network = network
        own = subject.ranks.own(len(rows))
        self._rows, self._count = rows[own.start : own.stop], len(rows)
        self._advance = advance
        self._targets: list[Tensor] = []
        self._resolution = 0
        self._prepared: list[Tensor] = []

    @torch.inference_mode()
    def __call__(self, resolution: int, keeps: Sequence[tuple[bool, ...]]) -> list[float]:
        """Return the divergence along each of `keeps` at `resolution`, in nats."""
        if not self._targets:
            self._targets = list(self._truth())
        if resolution != self._resolution:
            # Inputs can be large, so only one resolution's are held; the old ones are freed before the new are made.
            self._resolution, self._prepared = resolution, []
            self._prepared = list(self._batches(resolution, self._network))
        sums = {keep: torch.zeros(len(_SCALES)) for keep in keeps}
        for batch, target in zip(self._prepared, self._targets, strict=True):
            for keep, scores in scores_of_each(self._subject.networks[self._network], batch, keeps):
                sums[keep] += cross_entropies(scores.float(), target)
            self._advance(len(keeps) * len(batch))
        totals = self._subject.ranks.total(torch.stack([sums[keep] for keep in keeps]))
        return (totals.min(dim=1).values / self._count).tolist()

    def _truth(self) -> Iterator[Tensor]:
        """Yield each batch's class indices (batch,), or without labels probabilities (batch, classes)."""
        if self._subject.labels is None:
            reference = self._subject.reference
            for batch in self._batches(reference.native_resolution, REFERENCE):
                yield reference(batch).float().softmax(dim=1)
        else:
            for rows in self._batches_of_rows():
                yield torch.from_numpy(self._subject.labels[rows])

    def _batches(self, resolution: int, network: str) -> Iterator[Tensor]:
        for rows in self._batches_of_rows():
            yield self._subject.prepare((images.decode(self._subject.paths[row]) for row in rows), resolution, network)

    def _batches_of_rows(self) -> Iterator[list[int]]:
        for first in range(0, len(self._rows), BATCH):
            yield list(self._rows[first : first + BATCH])


def best_zoom(subject: Subject, space: BranchSpace, seed: int) -> float:
    """Return the zoom with the lowest divergence of all blocks of a network, summed over its lower resolutions.

    One zoom for all resolutions: a few hundred pictures cannot tell a good zoom from a lucky one at each.
    """
    sides = [side for side in space.parts if side < space.native_resolution]
    if not sides:
        return 0.0
    rows = images.spread(range(len(subject.paths)), _MOST, seed)
    divergences = dict.fromkeys(_ZOOMS, 0.0)
    with progress("looking closer", len(rows) * len(sides) * len(_ZOOMS), ranks=subject.ranks) as advance:
        for zoom in _ZOOMS:
            subject.zoom_by(space.network, zoom)
            divergence = ScoreDivergence(subject, rows, advance, space.network)
            divergences[zoom] = sum(divergence(side, [space.full.keep])[0] for side in sides)
    return min(divergences, key=divergences.__getitem__)


def best_strength(subject: Subject, space: BranchSpace, ceiling: float | None, seed: int) -> float:
    """Return the adapter strength with the lowest divergence, summed over the resolutions within the ceiling.

    space: of the network that is adapted. ceiling: the most MACs that the adapter was trained for, a fraction of all
    its blocks'; resolutions count whose branch of all blocks is within it. None: the adapter was trained with a
    scheduler and keeps strength 1.
    """
    sides = [
        side for side in space.parts if ceiling is not None and space.fraction(Branch(side, space.full.keep)) <= ceiling
    ]
    if not sides or subject.adapted is None:
        return 1.0
    rows = images.spread(range(len(subject.paths)), _MOST, seed)
    divergences: dict[float, float] = {}
    with progress("weighing the adapter", len(rows) * len(sides) * len(_STRENGTHS), ranks=subject.ranks) as advance:
        for strength in _STRENGTHS:
            divergence = ScoreDivergence(subject.weakened(strength), rows, advance, subject.adapted[0])
            divergences[strength] = sum(divergence(side, [space.full.keep])[0] for side in sides)
    return min(divergences, key=divergences.__getitem__)


def cross_entropies(scores: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy (factors,) of scores (pictures, classes) under each factor, summed over the pictures."""
    on_device = target.to(scores.device)
    return torch.stack(
        [functional.cross_entropy(scores * scale, on_device, reduction="sum").cpu() for scale in _SCALES]
    )
