"""Calibration: measure the accuracy of a backbone's branches and write it as a profile."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from adainf import __version__
from adainf.backbones import Backbone
from adainf.backbones.macs import branch_space
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch, BranchSpace
from adainf.evaluation.better import trained_up_to, with_better_sets
from adainf.evaluation.block_scheduler import compared
from adainf.evaluation.divergence import (
    SCALES,
    ScoreDivergence,
    best_strength,
    best_zoom,
    cross_entropies,
    search_images,
)
from adainf.evaluation.partial import Partial, partial_path
from adainf.evaluation.progress import progress
from adainf.evaluation.sample import sample, tried_by_search
from adainf.evaluation.subject import Candidate, Subject, check_describes
from adainf.media.images import spread
from adainf.profile import Calibration, Measured, Parts, Profile, WeightSet
from adainf.run import Run, now

__all__ = ["calibrate", "default_resolutions", "listing_digest"]

_MOST_RESOLUTIONS = 8
_SETS: tuple[WeightSet, ...] = ("base", "adapted")


def calibrate(
    subject: Subject,
    resolutions: Sequence[int],
    *,
    zoom: float | None,
    strength: float | None = None,
    count: int,
    part: str,
    limit: int | None,
    seed: int,
    out: Path,
    run: Run | None = None,
    known: Profile | None = None,
) -> Profile:
    """Measure at most `count` branches of the subject at `resolutions` (empty: the defaults); write the profile `out`.

    zoom: how much less of a picture smaller inputs show; None takes the value of `known` or of the run, and without
    either searches for the lowest loss.
    run: also search at most `count` good branches with its adapter, measure all branches with both sets of weights, and
    give each branch the set of the lower loss. A content-aware scheduler in the run is compared with the lookup table.
    strength: of the run's adapter; None searches for the lowest loss. known: a profile of the base weights on the same
    pictures; its measurements are reused.

    Counts are saved to `out`.partial after each batch. A repeated call with the same settings resumes from them and
    ends with the same profile. The subject's processes share the pictures; the first process writes.
    Raises InvalidInputError if the saved counts belong to other settings.
    """
    backbone = subject.engine.backbone
    if known is not None:
        _check_known(known, subject, resolutions, zoom)
        resolutions = sorted(known.parts)
        zoom = known.zoom
    elif run is not None and zoom is None:
        zoom = run.manifest.training.zoom
    space = _space(backbone, resolutions or default_resolutions(backbone))
    settings: dict[str, JsonValue] = {
        "version": __version__,
        "backbone": backbone.name,
        "weights": subject.weights,
        "resolutions": list(space.parts),
        "preprocessing": repr(backbone.preprocessing),
        "zoom": zoom,
        "strength": strength,
        "branches": count,
        "images": len(subject.paths),
        "labelled": subject.labels is not None,
        "part": part,
        "limit": limit,
        "seed": seed,
        "listing": listing_digest(subject),
        "adapter": None if run is None else run.manifest.files.get("adapter.safetensors"),
        "known": None if known is None else hashlib.sha256(known.model_dump_json().encode()).hexdigest(),
    }
    path = partial_path(out)
    partial = Partial.read(path, settings)
    if partial is None:
        subject.zoom_by(best_zoom(subject, space, seed) if zoom is None else zoom)
        if strength is None:
            strength = best_strength(subject, space, None if run is None else run.manifest.training.ceiling, seed)
        candidates = _candidates(subject.weakened(strength), space, count, seed, known, run)
        partial = _started(settings, subject, strength, candidates)
    subject.zoom_by(partial.zoom)
    subject = subject.weakened(partial.strength)
    partial = _count(subject, partial, path)
    profile = _profile(subject, space, partial, settings)
    if run is not None and run.adapter_path is not None:
        profile = with_better_sets(profile, run, known)
    if subject.ranks.is_first:
        if run is not None:
            profile = profile.model_copy(update={"scheduled": compared(subject, run, profile)})
        profile.write(out)
        path.unlink(missing_ok=True)
    return profile


def default_resolutions(backbone: Backbone) -> list[int]:
    """Return multiples of the backbone's step from half the native resolution up to it: at most 8, evenly spaced."""
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


def listing_digest(subject: Subject) -> str:
    """Return the SHA-256 of the pictures' names and labels."""
    names = [f"{path.parent.name}/{path.name}" for path in subject.paths]
    labels = None if subject.labels is None else subject.labels.tolist()
    return hashlib.sha256(repr((names, labels)).encode()).hexdigest()


def _check_known(known: Profile, subject: Subject, resolutions: Sequence[int], zoom: float | None) -> None:
    check_describes(known, subject.engine.backbone, subject.weights)
    if known.adapter is not None:
        raise InvalidInputError("profile: is itself a run's; give one by the base weights alone")
    if known.calibration.listing != listing_digest(subject):
        raise InvalidInputError("profile: was calibrated on other pictures than these; leave it out to measure anew")
    if resolutions and set(known.parts) != {*resolutions, known.native_resolution}:
        calibrated = ", ".join(map(str, sorted(known.parts)))
        raise InvalidInputError(f"profile: is of the resolutions {calibrated}, not of those asked for")
    if zoom not in (None, known.zoom):
        raise InvalidInputError(f"profile: is of the zoom {known.zoom}, not {zoom}")


def _candidates(
    subject: Subject, space: BranchSpace, count: int, seed: int, known: Profile | None, run: Run | None
) -> tuple[Candidate, ...]:
    """Return the branches and weights to measure, the most expensive first within each set of weights."""
    by_base = _sampled(subject, space, count, seed, "base") if known is None else ()
    if subject.adapted is None:
        return tuple(map(Candidate, by_base))
    ceiling = 1.0 if run is None else trained_up_to(run)
    by_search = _sampled(subject, space, count, seed, "adapted")
    by_adapted = [branch for branch in by_search if space.fraction(branch) <= ceiling]
    if known is None:
        branches = sorted({*by_base, *by_adapted}, key=lambda branch: (-space.macs(branch), branch))
        return tuple(Candidate(branch, weights) for weights in _SETS for branch in branches)
    wanted = {*by_adapted, *(Branch.parse(measured.branch) for measured in known.branches)}
    branches = sorted(wanted, key=lambda branch: (-space.macs(branch), branch))
    return (subject.full, *(Candidate(branch, "adapted") for branch in branches))


def _sampled(subject: Subject, space: BranchSpace, count: int, seed: int, weights: WeightSet) -> tuple[Branch, ...]:
    tries = tried_by_search(space, count) if space.count > count else 0
    images = search_images(len(subject.paths), count, tries)
    rows = spread(range(len(subject.paths)), images, seed)
    with progress("searching branches", tries * images, ranks=subject.ranks) as advance:
        return sample(space, count, ScoreDivergence(subject, rows, advance, weights), seed)


def _started(
    settings: dict[str, JsonValue], subject: Subject, strength: float, candidates: Sequence[Candidate]
) -> Partial:
    none = (0,) * len(candidates)
    return Partial(
        schema="adainf.partial/1",
        settings=settings,
        created=now(),
        zoom=subject.engine.preprocessing.zoom,
        strength=strength,
        branches=tuple(str(candidate.branch) for candidate in candidates),
        weights=tuple(candidate.weights for candidate in candidates),
        images=0,
        right=none,
        agreed=none,
        losses=((0.0,) * SCALES,) * len(candidates),
    )


def _count(subject: Subject, partial: Partial, path: Path) -> Partial:
    """Return the counts over all pictures, saving them to `path` after each batch."""
    ranks = subject.ranks
    if ranks.is_first:
        partial.write(path)
    candidates = tuple(map(Candidate, map(Branch.parse, partial.branches), partial.weights))
    with progress("calibrating, images", len(subject.paths), partial.images, ranks) as advance:
        for end, rows, pictures in subject.shared_batches(partial.images):
            counts = ranks.total(_counts(subject, rows, pictures, candidates)).tolist()
            partial = partial.model_copy(
                update={
                    "images": end,
                    "right": tuple(
                        before + round(count[0]) for before, count in zip(partial.right, counts, strict=True)
                    ),
                    "agreed": tuple(
                        before + round(count[1]) for before, count in zip(partial.agreed, counts, strict=True)
                    ),
                    "losses": tuple(
                        tuple(map(sum, zip(sums, count[2:], strict=True)))
                        for sums, count in zip(partial.losses, counts, strict=True)
                    ),
                }
            )
            if ranks.is_first:
                partial.write(path)
            advance(len(pictures))
    return partial


def _counts(
    subject: Subject, rows: slice, pictures: Sequence[NDArray[np.uint8]], candidates: Sequence[Candidate]
) -> Tensor:
    """Return counts (candidates, 2 + SCALES): right answers, agreements with the full branch, and summed losses."""
    counts = torch.zeros(len(candidates), 2 + SCALES, dtype=torch.float64)
    if not pictures:
        return counts
    scores = subject.scores(pictures, candidates)
    by_full = scores[subject.full]
    full_answers = by_full.argmax(dim=1).numpy()
    truth = subject.truth(rows, full_answers)
    target = by_full.softmax(dim=1) if subject.labels is None else torch.from_numpy(subject.labels[rows])
    for row, candidate in enumerate(candidates):
        answers = scores[candidate].argmax(dim=1).numpy()
        counts[row, 0] = int((answers == truth).sum())
        counts[row, 1] = int((answers == full_answers).sum())
        counts[row, 2:] = cross_entropies(scores[candidate], target)
    return counts


def _profile(subject: Subject, space: BranchSpace, partial: Partial, settings: dict[str, Any]) -> Profile:
    """Return the profile of all counts; a branch may appear twice, once per set of weights."""
    return Profile(
        schema="adainf.profile/1",
        backbone=subject.engine.backbone.name,
        weights=subject.weights,
        native_resolution=space.native_resolution,
        zoom=partial.zoom,
        droppable="".join("1" if may else "0" for may in space.droppable),
        parts={
            resolution: Parts(stem=parts.stem, blocks=parts.blocks, shortcuts=parts.shortcuts, head=parts.head)
            for resolution, parts in space.parts.items()
        },
        calibration=Calibration(
            images=partial.images,
            labelled=subject.labels is not None,
            part=settings["part"],
            seed=settings["seed"],
            created=partial.created,
            version=__version__,
            listing=settings["listing"],
        ),
        adapter=settings["adapter"],
        strength=partial.strength,
        branches=tuple(
            Measured(
                branch=branch,
                macs=space.macs(Branch.parse(branch)),
                accuracy=None if subject.labels is None else round(right / partial.images, 6),
                agreement=round(agreed / partial.images, 6),
                loss=round(min(losses) / partial.images, 4),
                weights=weights,
            )
            for branch, weights, right, agreed, losses in zip(
                partial.branches, partial.weights, partial.right, partial.agreed, partial.losses, strict=True
            )
        ),
    )
