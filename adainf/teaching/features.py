"""Features of examples along every branch that may be worth teaching."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.backbones.macs import branch_space
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import BATCH, Subject
from adainf.profile import Parts, Profile
from adainf.schedulers import LookupTable
from adainf.teaching.examples import Example
from adainf.teaching.views import VIEWS, views_of

__all__ = ["Features", "features_of", "with_small_inputs"]

_MOST_OF_PROFILE = 8
# Whole networks at inputs smaller than any shipped branch's, as fractions of their native resolution.
_SMALL_INPUTS = (2 / 7, 5 / 14, 3 / 7, 1 / 2)
_THUMBNAIL = 32


@dataclass(frozen=True, slots=True)
class Features:
    """Examples' features.

    of_branch: (views, examples, width). nothing: of pictures that show nothing: black, grey and noise (pictures,
    width). thumbnails: (examples, 32, 32, 3), BGR.
    """

    of_branch: Mapping[Branch, NDArray[np.float32]]
    nothing: Mapping[Branch, NDArray[np.float32]]
    thumbnails: NDArray[np.uint8]


def with_small_inputs(profile: Profile, subject: Subject) -> tuple[Profile, list[Branch]]:
    """Return the profile with small inputs of the network that is cheapest, and the branches to try, cheapest first.

    These are the best of the profile, the full one, and whole networks at small inputs.
    """
    spaces = profile.space.networks
    key = min(spaces, key=lambda key: spaces[key].macs(spaces[key].full))
    network, described = subject.networks[key], profile.of_key[key]
    step = network.resolution_step
    sides = {max(1, round(fraction * network.native_resolution / step)) * step for fraction in _SMALL_INPUTS}
    parts = dict(described.parts)
    small = []
    for side in sorted(sides):
        try:
            counted = branch_space(network, [side], key).parts[side]
        except InvalidInputError:  # networks that pool their smallest maps to nothing
            continue
        parts[side] = Parts(stem=counted.stem, blocks=counted.blocks, shortcuts=counted.shortcuts, head=counted.head)
        small.append(Branch(side, spaces[key].full.keep, key))
    networks = tuple(of.model_copy(update={"parts": parts}) if of is described else of for of in profile.networks)
    widened = profile.model_copy(update={"networks": networks})
    best = [choice.branch for choice in LookupTable(profile, most=_MOST_OF_PROFILE).frontier]
    branches = {widened.space.full, *best, *small}
    return widened, sorted(branches, key=lambda branch: (widened.space.macs(branch), branch))


def features_of(
    subject: Subject,
    examples: Sequence[Example],
    branches: Sequence[Branch],
    *,
    squeezed: bool,
    augmented: bool = False,
    mirrored: bool = False,
) -> Features:
    """Return the features of examples along branches. squeezed: as in `Engine.prepare`.

    augmented: of several views of each example (`views_of`), the first of which is the picture as it is.
    mirrored: some of them swap left and right.
    """
    random = np.random.default_rng(0)
    found: dict[Branch, list[NDArray[np.float32]]] = {branch: [] for branch in branches}
    thumbnails = np.empty((len(examples), _THUMBNAIL, _THUMBNAIL, 3), np.uint8)
    count = VIEWS if augmented else 1
    with progress("features, images", len(examples)) as advance:
        for start in range(0, len(examples), BATCH // count):
            views = []
            for row, example in enumerate(examples[start : start + BATCH // count], start):
                picture = example.read()
                cv2.resize(picture, (_THUMBNAIL, _THUMBNAIL), dst=thumbnails[row], interpolation=cv2.INTER_AREA)
                views += views_of(picture, random, mirrored=mirrored) if augmented else [picture]
            for branch, features in subject.features(views, branches, squeezed=squeezed).items():
                found[branch].append(features.reshape(-1, count, features.shape[1]).swapaxes(0, 1))
            advance(len(views) // count)
    nothing = subject.features(_pictures_of_nothing(random), branches, squeezed=squeezed)
    of_branch = {
        branch: np.concatenate([np.empty((count, 0, nothing[branch].shape[1]), np.float32), *of], axis=1)
        for branch, of in found.items()
    }
    return Features(of_branch, nothing, thumbnails)


def _pictures_of_nothing(random: np.random.Generator) -> list[NDArray[np.uint8]]:
    shape = (256, 256, 3)
    return [
        np.zeros(shape, np.uint8),
        np.full(shape, 128, np.uint8),
        random.integers(0, 256, shape, np.uint8),
        random.integers(0, 16, shape, np.uint8),
    ]
