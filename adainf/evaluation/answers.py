"""What every candidate answers on every picture: computed once, from which any schedule is then composed."""

import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from adainf.errors import InvalidInputError
from adainf.evaluation.progress import progress
from adainf.evaluation.subject import Candidate, Subject

__all__ = ["Answers", "answers_of"]

_SECONDS_BETWEEN_SAVES = 5.0


@dataclass(frozen=True)
class Answers:
    """Answers of candidates on pictures.

    given: class index (pictures, candidates). confidence: its share of the softmax, as is. truth: (pictures,), the
    labels, or without labels the full branch's answers.
    """

    candidates: tuple[Candidate, ...]
    given: NDArray[np.int32]
    confidence: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each candidate is right on each picture (pictures, candidates)."""
        right: NDArray[np.bool_] = self.given == self.truth[:, None]
        return right

    def column(self, candidate: Candidate) -> int:
        """Where `candidate` stands."""
        return self.candidates.index(candidate)


def answers_of(
    subject: Subject, candidates: Sequence[Candidate], path: Path, settings: Mapping[str, JsonValue]
) -> Answers:
    """The answers of `candidates`, the full branch's among them, on all pictures of `subject`.

    They are kept in `path` (NumPy's .npz) while they are computed and afterwards: what is there is not computed again.
    settings: what they depend on besides; raises InvalidInputError where `path` was made with others.
    """
    ways = tuple(dict.fromkeys([subject.full, *candidates]))
    told = json.dumps({**settings, "candidates": [[str(way.branch), way.weights] for way in ways]})
    shape = (len(subject.paths), len(ways))
    done, given, confidence = _read(path, told, shape)
    saved = time.monotonic()
    with progress("evaluating, images", shape[0], done) as advance:
        for rows, pictures in subject.batches(done):
            scores = subject.scores(pictures, ways)
            for column, way in enumerate(ways):
                best = scores[way].softmax(dim=1).max(dim=1)
                given[rows, column] = best.indices.numpy()
                confidence[rows, column] = best.values.numpy()
            done = rows.stop
            advance(len(pictures))
            if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES or done == shape[0]:
                _write(path, told, done, given, confidence)
                saved = time.monotonic()
    truth = given[:, 0].astype(np.int64) if subject.labels is None else subject.labels
    return Answers(ways, given, confidence, truth)


def _read(path: Path, settings: str, shape: tuple[int, int]) -> tuple[int, NDArray[np.int32], NDArray[np.float32]]:
    """How many pictures are done, and what they gave; for the others there is room."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            was, done = str(kept["settings"]), int(kept["done"])
            given, confidence = kept["given"], kept["confidence"]
    except FileNotFoundError:
        return 0, np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    except Exception:  # whatever a damaged archive makes of its reader
        raise InvalidInputError(f"{path}: is no file of answers; delete it to start anew") from None
    if was != settings or given.shape != shape:
        raise InvalidInputError(
            f"{path}: holds the answers of another evaluation; repeat its settings, or delete it to start anew"
        )
    return done, given, confidence


def _write(path: Path, settings: str, done: int, given: NDArray[np.int32], confidence: NDArray[np.float32]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                np.savez_compressed(file, settings=settings, done=done, given=given, confidence=confidence)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be written ({error.strerror})") from None
