"""What every candidate answers on every picture: computed once, from which any schedule is then composed."""

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from adainf.branch import Branch
from adainf.errors import InvalidInputError
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Candidate, Subject
from adainf.profile import write_atomically

__all__ = ["Answers", "answers_of"]

_SECONDS_BETWEEN_SAVES = 5.0


@dataclass(frozen=True)
class Answers:
    """Answers of candidates on pictures.

    given: class index (pictures, candidates). confidence, second: shares of the softmax of the best and the second
    class, as they are. features: means and deviations of the first block's channels at the smallest input (pictures,
    features). truth: (pictures,), the labels, or without labels the full branch's answers.
    """

    candidates: tuple[Candidate, ...]
    given: NDArray[np.int32]
    confidence: NDArray[np.float32]
    second: NDArray[np.float32]
    features: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each candidate is right on each picture (pictures, candidates)."""
        right: NDArray[np.bool_] = self.given == self.truth[:, None]
        return right

    def column(self, candidate: Candidate) -> int:
        """Where `candidate` stands."""
        return self.candidates.index(candidate)

    @classmethod
    def read(cls, path: Path) -> "Answers":
        """What an evaluation has left; raises InvalidInputError where it is missing, damaged or unfinished."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                told, arrays = json.loads(str(kept["settings"])), {name: kept[name] for name in _ARRAYS}
                done, truth = int(kept["done"]), kept["truth"]
        except FileNotFoundError:
            raise InvalidInputError(f"{path}: no such file; it is made by `adainf evaluate --out`") from None
        except Exception:  # whatever a damaged archive makes of its reader
            raise InvalidInputError(f"{path}: is no file of answers") from None
        if done < len(truth):
            raise InvalidInputError(f"{path}: has {done} of {len(truth)} pictures; finish that evaluation first")
        ways = tuple(Candidate(Branch.parse(branch), weights) for branch, weights in told["candidates"])
        return cls(ways, **arrays, truth=truth)


_ARRAYS = ("given", "confidence", "second", "features")


def answers_of(
    subject: Subject, candidates: Sequence[Candidate], path: Path, settings: Mapping[str, JsonValue]
) -> Answers:
    """The answers of `candidates`, the full branch's among them, on all pictures of `subject`.

    They are kept in `path` (NumPy's .npz) while they are computed and afterwards: what is there is not computed again.
    settings: what they depend on besides; raises InvalidInputError where `path` was made with others.
    """
    ways = tuple(dict.fromkeys([subject.full, *candidates]))
    told = json.dumps({**settings, "candidates": [[str(way.branch), way.weights] for way in ways]})
    side = min(way.branch.resolution for way in ways)
    count = len(subject.paths)
    done, arrays = _read(path, told, count)
    saved = time.monotonic()
    with progress("evaluating, images", count, done) as advance:
        for rows, pictures in subject.batches(done):
            for name, found in _on(subject, pictures, ways, side).items():
                arrays.setdefault(name, np.zeros((count, *found.shape[1:]), found.dtype))[rows] = found
            done = rows.stop
            advance(len(pictures))
            if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES or done == count:
                truth = arrays["given"][:, 0] if subject.labels is None else subject.labels
                _write(path, {**arrays, "settings": told, "done": done, "truth": truth.astype(np.int64)})
                saved = time.monotonic()
    truth = arrays["given"][:, 0] if subject.labels is None else subject.labels
    return Answers(ways, **arrays, truth=truth.astype(np.int64))


def _on(
    subject: Subject, pictures: Sequence[NDArray[np.uint8]], ways: Sequence[Candidate], side: int
) -> dict[str, NDArray[Any]]:
    """What is kept of a batch of pictures."""
    scores = subject.scores(pictures, ways)
    best = [scores[way].softmax(dim=1).topk(2, dim=1) for way in ways]
    return {
        "given": np.stack([found.indices[:, 0].numpy().astype(np.int32) for found in best], axis=1),
        "confidence": np.stack([found.values[:, 0].numpy() for found in best], axis=1),
        "second": np.stack([found.values[:, 1].numpy() for found in best], axis=1),
        "features": subject.first_features(pictures, side),
    }


def _read(path: Path, settings: str, count: int) -> tuple[int, dict[str, NDArray[Any]]]:
    """How many pictures are done, and what is kept of them; for the others there is room."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            was, done = str(kept["settings"]), int(kept["done"])
            arrays = {name: kept[name] for name in _ARRAYS}
    except FileNotFoundError:
        return 0, {}
    except Exception:  # whatever a damaged archive makes of its reader
        raise InvalidInputError(f"{path}: is no file of answers; delete it to start anew") from None
    if was != settings or any(len(array) != count for array in arrays.values()):
        raise InvalidInputError(
            f"{path}: holds the answers of another evaluation; repeat its settings, or delete it to start anew"
        )
    return done, arrays


def _write(path: Path, content: Mapping[str, Any]) -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, **content)
    write_atomically(path, archive.getvalue())
