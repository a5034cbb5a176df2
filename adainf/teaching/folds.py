"""Folds of a cross-validation: each holds out blocks of time, so that neighbours are never on both sides."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from adainf.teaching.examples import Example

__all__ = ["folds"]

_MOST = 5
# Neighbours within this time of each other show the same moment.
_NEIGHBOURS_SECONDS = 1.0

Rows = NDArray[np.intp]


def folds(examples: Sequence[Example], *, timed: bool) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows to fit and the rows held out of each fold; every row is held out once.

    examples: each label's in a run, by rising time. A label's episodes are held out whole where it has three or more,
    else its examples are cut into blocks. timed: the examples next to a
    held-out one are left out if they are within a second of it.
    """
    of_fold = np.concatenate([_blocks([example.episode for example in of]) for of in _by_label(examples)])
    times = np.array([example.time for example in examples])
    rows = np.arange(len(examples))
    for fold in range(int(of_fold.max()) + 1):
        held, fitted = rows[of_fold == fold], rows[of_fold != fold]
        if timed:
            near = np.abs(times[fitted, None] - times[None, held]).min(axis=1) < _NEIGHBOURS_SECONDS
            beside = np.abs(fitted[:, None] - held[None]).min(axis=1) == 1
            apart = fitted[~(near & beside)]
            # A label that would lose all its examples keeps them.
            left = {examples[row].label for row in apart}
            fitted = np.array([row for row in fitted if row in apart or examples[row].label not in left])
        yield fitted, held


def _by_label(examples: Sequence[Example]) -> list[list[Example]]:
    return [list(of) for _, of in groupby(examples, key=lambda example: example.label)]


def _blocks(episodes: Sequence[int]) -> NDArray[np.intp]:
    """Return the fold (examples,) of one label's examples by their episodes."""
    numbers = np.unique(episodes, return_inverse=True)[1]
    count = int(numbers.max()) + 1
    if count < 3:
        numbers, count = np.arange(len(episodes)), len(episodes)
    # Whole episodes, in order, into folds of about equal numbers of examples.
    middles = np.array([np.flatnonzero(numbers == number).mean() + 0.5 for number in range(count)]) / len(episodes)
    of_episode = np.minimum((middles * min(_MOST, count)).astype(np.intp), _MOST - 1)
    return np.unique(of_episode, return_inverse=True)[1][numbers].astype(np.intp)
