"""Calibration: how accurate each branch of a backbone is, written as a profile."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from adainf import __version__
from adainf.backbones import Backbone
from adainf.backbones.macs import branch_space
from adainf.branch import Branch, BranchSpace
from adainf.errors import InvalidInputError
from adainf.evaluation.divergence import SCALES, ScoreDivergence, cross_entropies, search_images
from adainf.evaluation.partial import Partial, partial_path
from adainf.evaluation.progress import progress
from adainf.evaluation.sample import sample, tried_by_search
from adainf.evaluation.subject import Subject
from adainf.images import spread
from adainf.profile import Calibration, Measured, Parts, Profile
from adainf.run import now

__all__ = ["calibrate", "default_resolutions"]

_MOST_RESOLUTIONS = 7


def calibrate(
    subject: Subject, resolutions: Sequence[int], *, count: int, part: str, limit: int | None, seed: int, out: Path
) -> Profile:
    """Measure at most `count` branches of the subject at these resolutions (none: the default ones); write `out`.

    Counts are kept in `out`.partial after each batch: called again with the same settings it goes on there and
    ends with the same profile. Raises InvalidInputError where those counts belong to other settings.
    """
    backbone = subject.engine.backbone
    space = _space(backbone, resolutions or default_resolutions(backbone))
    settings: dict[str, JsonValue] = {
        "version": __version__,
        "backbone": backbone.name,
        "weights": subject.weights,
        "resolutions": list(space.parts),
        "preprocessing": repr(backbone.preprocessing),
        "branches": count,
        "images": len(subject.paths),
        "labelled": subject.labels is not None,
        "part": part,
        "limit": limit,
        "seed": seed,
        "listing": _digest(subject),
    }
    path = partial_path(out)
    partial = Partial.read(path, settings)
    if partial is None:
        partial = _started(settings, _sampled(subject, space, count, seed))
    partial = _count(subject, partial, path)
    profile = _profile(subject, space, partial, part, seed)
    profile.write(out)
    path.unlink(missing_ok=True)
    return profile


def default_resolutions(backbone: Backbone) -> list[int]:
    """The native resolution and multiples of the backbone's step down to half of it: at most 7, evenly spread."""
    native, step = backbone.native_resolution, backbone.resolution_step
    multiples = [side for side in range(native, 0, -step) if 2 * side >= native]
    picked = np.linspace(0, len(multiples) - 1, min(len(multiples), _MOST_RESOLUTIONS))
    return sorted(multiples[round(position)] for position in picked)


def _space(backbone: Backbone, resolutions: Sequence[int]) -> BranchSpace:
    too_large = [resolution for resolution in resolutions if resolution > backbone.native_resolution]
    if too_large:
        raise InvalidInputError(
            f"resolution {too_large[0]}: must be at most {backbone.native_resolution}, where {backbone.name} is native"
        )
    return branch_space(backbone, resolutions)


def _digest(subject: Subject) -> str:
    names = [f"{path.parent.name}/{path.name}" for path in subject.paths]
    return hashlib.sha256(repr((names, subject.labels)).encode()).hexdigest()


def _sampled(subject: Subject, space: BranchSpace, count: int, seed: int) -> tuple[Branch, ...]:
    tries = tried_by_search(space, count) if space.count > count else 0
    images = search_images(len(subject.paths), count, tries)
    rows = spread(range(len(subject.paths)), images, seed)
    with progress("searching branches", tries * images) as advance:
        return sample(space, count, ScoreDivergence(subject, rows, advance), seed)


def _started(settings: dict[str, JsonValue], branches: Sequence[Branch]) -> Partial:
    none = (0,) * len(branches)
    return Partial(
        schema="adainf.partial/1",
        settings=settings,
        created=now(),
        branches=tuple(map(str, branches)),
        images=0,
        right=none,
        agreed=none,
        losses=((0.0,) * SCALES,) * len(branches),
    )


def _count(subject: Subject, partial: Partial, path: Path) -> Partial:
    """The counts over all pictures, written to `path` after each batch."""
    partial.write(path)
    branches = tuple(map(Branch.parse, partial.branches))
    full = subject.engine.backbone.full
    with progress("calibrating, images", len(subject.paths), partial.images) as advance:
        for rows, pictures in subject.batches(partial.images):
            scores = subject.scores(pictures, branches)
            given = [scores[branch].argmax(dim=1).numpy() for branch in branches]
            full_answers = scores[full].argmax(dim=1).numpy()
            labels = subject.labels
            target = scores[full].softmax(dim=1) if labels is None else torch.from_numpy(labels[rows])
            partial = partial.model_copy(
                update={
                    "images": rows.stop,
                    "right": _added(partial.right, given, subject.truth(rows, full_answers)),
                    "agreed": _added(partial.agreed, given, full_answers),
                    "losses": tuple(
                        tuple(map(sum, zip(sums, cross_entropies(scores[branch], target).tolist(), strict=True)))
                        for sums, branch in zip(partial.losses, branches, strict=True)
                    ),
                }
            )
            partial.write(path)
            advance(len(pictures))
    return partial


def _added(counts: Sequence[int], given: Sequence[NDArray[np.int64]], truth: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(count + int((answers == truth).sum()) for count, answers in zip(counts, given, strict=True))


def _profile(subject: Subject, space: BranchSpace, partial: Partial, part: str, seed: int) -> Profile:
    return Profile(
        schema="adainf.profile/1",
        backbone=subject.engine.backbone.name,
        weights=subject.weights,
        native_resolution=space.native_resolution,
        droppable="".join("1" if may else "0" for may in space.droppable),
        parts={
            resolution: Parts(stem=parts.stem, blocks=parts.blocks, shortcuts=parts.shortcuts, head=parts.head)
            for resolution, parts in space.parts.items()
        },
        calibration=Calibration(
            images=partial.images,
            labelled=subject.labels is not None,
            part=part,
            seed=seed,
            created=partial.created,
            version=__version__,
        ),
        branches=tuple(
            Measured(
                branch=branch,
                macs=space.macs(Branch.parse(branch)),
                accuracy=None if subject.labels is None else round(right / partial.images, 6),
                agreement=round(agreed / partial.images, 6),
                loss=round(min(losses) / partial.images, 4),
            )
            for branch, right, agreed, losses in zip(
                partial.branches, partial.right, partial.agreed, partial.losses, strict=True
            )
        ),
    )
