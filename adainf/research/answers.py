"""Answers of every branch on every picture: computed once, then reused to compose any schedule."""

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Point, Subject, pooled
from adainf.profile import write_atomically

__all__ = ["Answers", "answers_of"]

_SECONDS_BETWEEN_SAVES = 5.0


@dataclass(frozen=True)
class Answers:
    """Answers of branches on pictures.

    classes: indices of the three best classes, best first (pictures, branches, 3). shares: their softmax
    probabilities. features: means and standard deviations of the first block's channels at the reference's smallest
    input (pictures, features). truth: (pictures,), the labels, or without labels the full branch's answers.
    passed: as `features`, at later points (pictures, features of the point).
    """

    branches: tuple[Branch, ...]
    classes: NDArray[np.int32]
    shares: NDArray[np.float32]
    features: NDArray[np.float32]
    truth: NDArray[np.int64]
    passed: Mapping[Point, NDArray[np.float16]] = field(default_factory=dict)

    @property
    def given(self) -> NDArray[np.int32]:
        """Each branch's top-1 class (pictures, branches)."""
        best: NDArray[np.int32] = self.classes[:, :, 0]
        return best

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each branch is right on each picture (pictures, branches)."""
        right: NDArray[np.bool_] = self.given == self.truth[:, None]
        return right

    def column(self, branch: Branch) -> int:
        """Return the column of `branch`."""
        return self.branches.index(branch)

    def together(self, one: int, other: int) -> NDArray[np.int32]:
        """Return the joint answer (pictures,) of two branches, given by their columns.

        Picks the class with the highest product of shares, among the three best classes of both. A class missing from
        one branch's best three gets a small share there.
        """
        named = np.concatenate([self.classes[:, one], self.classes[:, other]], axis=1)
        sums = np.zeros(named.shape)
        for column in (one, other):
            classes, shares = self.classes[:, column], self.shares[:, column].astype(np.float64)
            # An upper bound on a missing class's share: the third best share, and the unassigned remainder.
            rest = np.maximum(np.minimum(shares[:, -1], 1 - shares.sum(axis=1)), _LEAST)
            matched = (named[:, :, None] == classes[:, None, :]) * shares[:, None, :]
            sums += np.log(np.maximum(matched.sum(axis=2), rest[:, None] / 2))
        best: NDArray[np.int32] = np.take_along_axis(named, sums.argmax(axis=1)[:, None], axis=1)[:, 0]
        return best

    @classmethod
    def read(cls, path: Path) -> "Answers":
        """Read the answers of an evaluation; raises InvalidInputError if they are missing, damaged or unfinished."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                metadata = json.loads(str(kept["settings"]))
                points = tuple(Point.parse(point) for point in metadata.get("points", ()))
                branches = tuple(map(Branch.parse, metadata["branches"]))
                arrays = {name: kept[name] for name in (*_ARRAYS, *map(str, points))}
                done, truth = int(kept["done"]), kept["truth"]
        except FileNotFoundError:
            raise InvalidInputError(f"{path}: no such file; it is made by `adainf evaluate --out`") from None
        except Exception:  # a damaged archive can raise anything in its reader
            raise InvalidInputError(f"{path}: is no file of answers") from None
        if done < len(truth):
            raise InvalidInputError(f"{path}: has {done} of {len(truth)} pictures; finish that evaluation first")
        return _answers(branches, points, arrays, truth)


_ARRAYS = ("classes", "shares", "features")
_BEST = 3
_LEAST = 1e-6


def answers_of(
    subject: Subject,
    branches: Sequence[Branch],
    points: Sequence[Point],
    path: Path,
    settings: Mapping[str, JsonValue],
) -> Answers:
    """Compute the answers of the full branch and `branches` on all pictures of `subject`.

    points: the points whose pooled features are stored too. settings: everything else the answers depend on.

    Answers are saved to `path` (NumPy's .npz) as they are computed; a repeated call resumes from the saved ones.
    Raises InvalidInputError if `path` was written with other settings.
    """
    every = tuple(dict.fromkeys([subject.full, *branches]))
    settings_text = json.dumps({**settings, "branches": list(map(str, every)), "points": list(map(str, points))})
    smallest = min((branch for branch in every if not branch.network), key=lambda branch: branch.resolution)
    count = len(subject.paths)
    done, arrays = _read(path, settings_text, count, points)
    saved = time.monotonic()
    with progress("evaluating, images", count, done) as advance:
        for rows, pictures in subject.batches(done):
            for name, values in _on(subject, pictures, every, points, smallest).items():
                arrays.setdefault(name, np.zeros((count, *values.shape[1:]), values.dtype))[rows] = values
            done = rows.stop
            advance(len(pictures))
            if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES or done == count:
                truth = arrays["classes"][:, 0, 0] if subject.labels is None else subject.labels
                _write(path, {**arrays, "settings": settings_text, "done": done, "truth": truth.astype(np.int64)})
                saved = time.monotonic()
    truth = arrays["classes"][:, 0, 0] if subject.labels is None else subject.labels
    return _answers(every, points, arrays, truth.astype(np.int64))


def _answers(
    branches: tuple[Branch, ...],
    points: Sequence[Point],
    arrays: Mapping[str, NDArray[Any]],
    truth: NDArray[np.int64],
) -> Answers:
    passed = {point: arrays[str(point)] for point in points}
    return Answers(branches, **{name: arrays[name] for name in _ARRAYS}, truth=truth, passed=passed)


def _on(
    subject: Subject,
    pictures: Sequence[NDArray[np.uint8]],
    branches: Sequence[Branch],
    points: Sequence[Point],
    smallest: Branch,
) -> dict[str, NDArray[Any]]:
    """Return the arrays to store for a batch of pictures, by name."""
    passed: dict[str, NDArray[Any]] = {}
    wanted = frozenset(points)

    def keep(point: Point, hidden: Tensor) -> None:
        if point in wanted:
            passed[str(point)] = pooled(hidden).astype(np.float16)

    scores = subject.scores(pictures, branches, keep)
    shares = [scores[branch].softmax(dim=1) for branch in branches]
    best = [share.topk(min(_BEST, share.shape[1]), dim=1) for share in shares]
    return {
        "classes": np.stack([found.indices.numpy().astype(np.int32) for found in best], axis=1),
        "shares": np.stack([found.values.numpy() for found in best], axis=1),
        "features": subject.first_features(pictures, smallest),
        **passed,
    }


def _read(path: Path, settings: str, count: int, points: Sequence[Point]) -> tuple[int, dict[str, NDArray[Any]]]:
    """Return the number of finished pictures, and the stored arrays, which have rows for all `count` pictures."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            stored_settings, done = str(kept["settings"]), int(kept["done"])
            known = {*_ARRAYS, *map(str, points)}
            arrays = {name: kept[name] for name in kept.files if name in known}
    except FileNotFoundError:
        return 0, {}
    except Exception:  # a damaged archive can raise anything in its reader
        raise InvalidInputError(f"{path}: is no file of answers; delete it to start anew") from None
    if stored_settings != settings or any(len(array) != count for array in arrays.values()):
        raise InvalidInputError(
            f"{path}: holds the answers of another evaluation; repeat its settings, or delete it to start anew"
        )
    return done, arrays


def _write(path: Path, content: Mapping[str, Any]) -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, **content)
    write_atomically(path, archive.getvalue())
