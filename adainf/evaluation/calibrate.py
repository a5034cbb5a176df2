"""Calibration: measure the accuracy of the branches of a family of networks and write it as a profile."""

import hashlib
from collections.abc import Mapping, Sequence
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
from adainf.branch import REFERENCE, Branch, BranchSpace, FamilySpace
from adainf.evaluation.better import trained_up_to, with_better_weights
from adainf.evaluation.block_scheduler import compared
from adainf.evaluation.divergence import (
    SCALES,
    ScoreDivergence,
    best_scale,
    best_strength,
    best_zoom,
    cross_entropies,
    search_images,
)
from adainf.evaluation.partial import Partial, partial_path
from adainf.evaluation.progress import progress
from adainf.evaluation.sample import indispensable, sample, tried_by_search
from adainf.evaluation.subject import Subject, check_describes
from adainf.media.images import spread
from adainf.profile import Calibration, Measured, Network, Parts, Profile
from adainf.run import Run, now

__all__ = ["calibrate", "default_resolutions", "listing_digest"]

_MOST_RESOLUTIONS = 8


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
    """Measure branches of the subject's networks at `resolutions` (empty: the defaults); write the profile `out`.

    count: of branches at most, which the networks share equally. zoom: how much less of a picture smaller inputs show;
    None takes the value of `known` or of the run, and without either searches for each network's lowest loss.
    run: also search at most `count` good branches of the network with its adapter, measure all branches with and
    without it, and use each with the weights of the lower loss. A content-aware scheduler in the run is compared with
    the lookup table. strength: of the run's adapter; None searches for the lowest loss. known: a profile without the
    run, on the same pictures; its measurements are reused.

    Counts are saved to `out`.partial after each batch. A repeated call with the same settings resumes from them and
    ends with the same profile. The subject's processes share the pictures; the first process writes.
    Raises InvalidInputError if the saved counts belong to other settings.
    """
    if known is not None:
        _check_known(known, subject, resolutions, zoom)
        spaces = dict(known.space.networks)
    else:
        if run is not None and zoom is None:
            zoom = run.manifest.training.zoom
        spaces = _spaces(subject, resolutions)
    share = _share(count, list(spaces.values()))
    if subject.adapted is not None:
        key, base = subject.adapted
        spaces[key] = BranchSpace(spaces[base].native_resolution, spaces[base].droppable, spaces[base].parts, key)
    space = FamilySpace(spaces)
    settings: dict[str, JsonValue] = {
        "version": __version__,
        "backbone": [network.name for network in subject.networks.values()],
        "weights": list(subject.weights.values()),
        "resolutions": [list(of.parts) for of in spaces.values()],
        "preprocessing": [repr(network.preprocessing) for network in subject.networks.values()],
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
        zooms = _zoomed(subject, space, zoom, known, seed)
        if strength is None:
            ceiling = None if run is None else run.manifest.training.ceiling
            adapted_space = None if subject.adapted is None else spaces[subject.adapted[1]]
            strength = 1.0 if adapted_space is None else best_strength(subject, adapted_space, ceiling, seed)
        branches = _candidates(subject.weakened(strength), space, share, seed, known, run)
        partial = _started(settings, zooms, strength, branches)
    for key, zoomed in partial.zooms.items():
        subject.zoom_by(key, zoomed)
    subject = subject.weakened(partial.strength)
    partial = _count(subject, partial, path)
    profile = _profile(subject, space, partial, settings, known)
    if run is not None and subject.adapted is not None:
        profile = with_better_weights(profile, run, subject.adapted)
    if subject.ranks.is_first:
        if run is not None:
            profile = profile.model_copy(update={"scheduled": compared(subject, run, profile)})
        profile.write(out)
        path.unlink(missing_ok=True)
    return profile


def default_resolutions(backbone: Backbone) -> list[int]:
    """Return multiples of the backbone's step from half the native resolution up to it: at most 8, evenly spaced."""
    native, step = backbone.native_resolution, backbone.resolution_step
    multiples = [side for side in range(native, 0, -1) if 2 * side >= native and (side % step == 0 or side == native)]
    picked = np.linspace(0, len(multiples) - 1, min(len(multiples), _MOST_RESOLUTIONS))
    return sorted(multiples[round(position)] for position in picked)


def _spaces(subject: Subject, resolutions: Sequence[int]) -> dict[str, BranchSpace]:
    """Return the branches of each network without an adapter, at those of the resolutions that it can run."""
    adapted = None if subject.adapted is None else subject.adapted[0]
    networks = {key: network for key, network in subject.networks.items() if key != adapted}
    largest = max(networks.values(), key=lambda network: network.native_resolution)
    too_large = [resolution for resolution in resolutions if resolution > largest.native_resolution]
    if too_large:
        raise InvalidInputError(
            f"resolution {too_large[0]}: must be at most {largest.native_resolution}, where {largest.name} is native"
        )
    return {key: branch_space(network, _sides(network, resolutions), key) for key, network in networks.items()}


def _sides(network: Backbone, resolutions: Sequence[int]) -> list[int]:
    """Return those of the resolutions that a network can run; the defaults if it can run none."""
    return [side for side in resolutions if side <= network.native_resolution] or default_resolutions(network)


def listing_digest(subject: Subject) -> str:
    """Return the SHA-256 of the pictures' names and labels."""
    names = [f"{path.parent.name}/{path.name}" for path in subject.paths]
    labels = None if subject.labels is None else subject.labels.tolist()
    return hashlib.sha256(repr((names, labels)).encode()).hexdigest()


def _check_known(known: Profile, subject: Subject, resolutions: Sequence[int], zoom: float | None) -> None:
    if known.adapted is not None:
        raise InvalidInputError("profile: is itself a run's; give one by the base weights alone")
    adapted = None if subject.adapted is None else subject.adapted[0]
    given = {key: network for key, network in subject.networks.items() if key != adapted}
    if set(known.of_key) != set(given):
        raise InvalidInputError(f"profile: is of {known.title}, not of {', '.join(n.name for n in given.values())}")
    for key, network in given.items():
        check_describes(known.of_key[key], network, subject.weights[key])
    if known.calibration.listing != listing_digest(subject):
        raise InvalidInputError("profile: was calibrated on other pictures than these; leave it out to measure anew")
    for key, described in known.of_key.items():
        if resolutions and set(described.parts) != {*_sides(given[key], resolutions), described.native_resolution}:
            calibrated = ", ".join(map(str, sorted(described.parts)))
            raise InvalidInputError(f"profile: is of the resolutions {calibrated}, not of those asked for")
        if zoom not in (None, described.zoom):
            raise InvalidInputError(f"profile: is of the zoom {described.zoom}, not {zoom}")


def _zoomed(
    subject: Subject, space: FamilySpace, zoom: float | None, known: Profile | None, seed: int
) -> dict[str, float]:
    """Return each network's zoom, and set it; an adapted network has that of the network it adapts."""
    zooms: dict[str, float] = {}
    for key, of_network in space.networks.items():
        if subject.adapted is not None and key == subject.adapted[0]:
            continue
        if known is not None:
            zooms[key] = known.of_key[key].zoom
        else:
            zooms[key] = best_zoom(subject, of_network, seed) if zoom is None else zoom
    if subject.adapted is not None:
        zooms[subject.adapted[0]] = zooms[subject.adapted[1]]
    for key, zoomed in zooms.items():
        subject.zoom_by(key, zoomed)
    return zooms


def _candidates(
    subject: Subject, space: FamilySpace, share: int, seed: int, known: Profile | None, run: Run | None
) -> tuple[Branch, ...]:
    """Return the branches to measure: network by network, the most expensive first; share: of each network at most."""
    adapted, base = (None, None) if subject.adapted is None else subject.adapted
    wanted: dict[str, set[Branch]] = {}
    if known is None:
        for key in space.networks:
            if key != adapted:
                wanted[key] = set(_sampled(subject, space.networks[key], share, seed))
    if adapted is not None and base is not None:
        ceiling = 1.0 if run is None else trained_up_to(run)
        of_base, own = space.networks[base], space.networks[adapted]
        found = {b for b in _sampled(subject, own, share, seed) if own.fraction(b) <= ceiling}
        measured = wanted[base] if known is None else {b for b in _branches(known) if b.network == base}
        wanted[adapted] = found | {Branch(b.resolution, b.keep, adapted) for b in measured}
        if known is None:
            wanted[base] |= {
                Branch(b.resolution, b.keep, base) for b in found if Branch(b.resolution, b.keep, base) in of_base
            }
    branches = [b for found in wanted.values() for b in sorted(found, key=lambda b: (-space.macs(b), b))]
    return tuple(dict.fromkeys([space.full, *branches]))


def _share(count: int, spaces: Sequence[BranchSpace]) -> int:
    """Return how many of `count` branches each network gets."""
    share, fewest = count // len(spaces), max(min(of.count, len(indispensable(of))) for of in spaces)
    if len(spaces) > 1 and share < fewest:
        raise InvalidInputError(
            f"branches {count}: must be at least {fewest * len(spaces)}, {fewest} for each of {len(spaces)} networks"
        )
    return share


def _branches(profile: Profile) -> list[Branch]:
    return [Branch.parse(measured.branch) for measured in profile.branches]


def _sampled(subject: Subject, space: BranchSpace, count: int, seed: int) -> tuple[Branch, ...]:
    tries = tried_by_search(space, count) if space.count > count else 0
    images = search_images(len(subject.paths), count, tries)
    rows = spread(range(len(subject.paths)), images, seed)
    with progress("searching branches", tries * images, ranks=subject.ranks) as advance:
        return sample(space, count, ScoreDivergence(subject, rows, advance, space.network), seed)


def _started(
    settings: dict[str, JsonValue], zooms: dict[str, float], strength: float, branches: Sequence[Branch]
) -> Partial:
    none = (0,) * len(branches)
    return Partial(
        schema="adainf.partial/2",
        settings=settings,
        created=now(),
        zooms=zooms,
        strength=strength,
        branches=tuple(map(str, branches)),
        images=0,
        right=none,
        agreed=none,
        losses=((0.0,) * SCALES,) * len(branches),
    )


def _count(subject: Subject, partial: Partial, path: Path) -> Partial:
    """Return the counts over all pictures, saving them to `path` after each batch."""
    ranks = subject.ranks
    if ranks.is_first:
        partial.write(path)
    branches = tuple(map(Branch.parse, partial.branches))
    with progress("calibrating, images", len(subject.paths), partial.images, ranks) as advance:
        for end, rows, pictures in subject.shared_batches(partial.images):
            counts = ranks.total(_counts(subject, rows, pictures, branches)).tolist()
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


def _counts(subject: Subject, rows: slice, pictures: Sequence[NDArray[np.uint8]], branches: Sequence[Branch]) -> Tensor:
    """Return counts (branches, 2 + SCALES): right answers, agreements with the full branch, and summed losses."""
    counts = torch.zeros(len(branches), 2 + SCALES, dtype=torch.float64)
    if not pictures:
        return counts
    scores = subject.scores(pictures, branches)
    by_full = scores[subject.full]
    full_answers = by_full.argmax(dim=1).numpy()
    truth = subject.truth(rows, full_answers)
    target = by_full.softmax(dim=1) if subject.labels is None else torch.from_numpy(subject.labels[rows])
    for row, branch in enumerate(branches):
        answers = scores[branch].argmax(dim=1).numpy()
        counts[row, 0] = int((answers == truth).sum())
        counts[row, 1] = int((answers == full_answers).sum())
        counts[row, 2:] = cross_entropies(scores[branch], target)
    return counts


def _profile(
    subject: Subject, space: FamilySpace, partial: Partial, settings: dict[str, Any], known: Profile | None
) -> Profile:
    """Return the profile of all counts, and of the measurements of `known`."""
    measured = {
        branch: Measured(
            branch=branch,
            macs=space.macs(Branch.parse(branch)),
            accuracy=None if subject.labels is None else round(right / partial.images, 6),
            agreement=round(agreed / partial.images, 6),
            loss=round(min(losses) / partial.images, 4),
        )
        for branch, right, agreed, losses in zip(
            partial.branches, partial.right, partial.agreed, partial.losses, strict=True
        )
    }
    if known is not None:
        measured |= {of_known.branch: of_known for of_known in known.branches}
    scales = _scales(subject, space, dict(zip(partial.branches, partial.losses, strict=True)), known)
    return Profile(
        schema="adainf.profile/2",
        networks=tuple(
            Network(
                name=subject.names[key],
                backbone=subject.networks[key].name,
                weights=subject.weights[key],
                native_resolution=of.native_resolution,
                zoom=partial.zooms[key],
                scale=scales[key],
                droppable="".join("1" if may else "0" for may in of.droppable),
                parts={
                    resolution: Parts(stem=parts.stem, blocks=parts.blocks, shortcuts=parts.shortcuts, head=parts.head)
                    for resolution, parts in of.parts.items()
                },
                adapter=settings["adapter"] if subject.adapted is not None and key == subject.adapted[0] else None,
                strength=partial.strength if subject.adapted is not None and key == subject.adapted[0] else 1.0,
            )
            for key, of in space.networks.items()
        ),
        calibration=Calibration(
            images=partial.images,
            labelled=subject.labels is not None,
            part=settings["part"],
            seed=settings["seed"],
            created=partial.created,
            version=__version__,
            listing=settings["listing"],
        ),
        branches=tuple(measured.values()),
    )


def _scales(
    subject: Subject, space: FamilySpace, losses: Mapping[str, Sequence[float]], known: Profile | None
) -> dict[str, float]:
    """Return the factors that bring each network's scores to the scale of the reference's.

    The best factor of each network's scores along all its blocks, relative to that of the reference. An adapted network
    has the factor of the network that it adapts, whose scores its training imitates.
    """
    adapted = None if subject.adapted is None else subject.adapted[0]
    if known is not None:
        scales = {key: network.scale for key, network in known.of_key.items()}
    else:
        best = {key: best_scale(losses[str(of.full)]) for key, of in space.networks.items() if key != adapted}
        scales = {key: round(scale / best[REFERENCE], 4) for key, scale in best.items()}
    if subject.adapted is not None:
        scales[subject.adapted[0]] = scales[subject.adapted[1]]
    return scales
