"""Taught classes: an owner's labels, a linear head on each network's features, and how far is too far: `unknown`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, one_line, printable
from adainf.branch import Branch
from adainf.classes.labels import UNKNOWN
from adainf.profile import Profile, write_atomically

__all__ = [
    "MOST_LABELS",
    "ClassHead",
    "Familiar",
    "Taught",
    "before_of",
    "check_label",
    "keep_before",
    "roots",
    "unknown_score",
]

MOST_LABELS = 256
LONGEST_LABEL = 100

_SCHEMA = "adainf.taught/1"
_MOST_BYTES = 64 << 20
_MOST_HEADER_BYTES = 8 << 20
_MOST_WIDTH = 1 << 16
_MOST_SIGHTS = 512
# At the threshold `unknown` is as likely as all classes together; a tenth beyond it e times as likely.
_SLOPE = 10.0


@dataclass(frozen=True, slots=True)
class ClassHead:
    """The linear classifier of one network, of the features' `roots`. weight: (labels, width). bias: (labels,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the labels' scores (…, labels) of features (…, width)."""
        return roots(features) @ self.weight.T + self.bias


@dataclass(frozen=True, slots=True)
class Familiar:
    """The taught pictures' features along one branch, thinned to a few.

    sights: unit vectors (sights, width). threshold: the distance from the nearest sight at which a picture is as likely
    `unknown` as not.
    """

    sights: NDArray[np.float32]
    threshold: float

    def distance(self, features: NDArray[np.float32]) -> float:
        """Return 1 minus the cosine between features (width,) and the nearest sight."""
        length = float(features @ features) ** 0.5
        return 1.0 - float((self.sights @ features).max()) / length if length else 1.0


@dataclass(frozen=True)
class Taught:
    """Classes taught to the networks of a profile: one `*.classes` file.

    labels: in order, without `UNKNOWN`. profile: the branches that were taught, with their cross-validated accuracy and
    loss for this question. squeezed: how pictures are prepared (`Engine.prepare`). heads: of each network, by what its
    branches name it. familiar: of each branch.

    >>> taught = Taught.read(Path("gate.classes"))
    >>> branch = taught.profile.space.full
    >>> (features,) = engine.features([engine.prepare(picture, branch.resolution, squeezed=taught.squeezed)], [branch])
    >>> print(taught.names[taught.scores(branch, features).argmax()])
    """

    labels: tuple[str, ...]
    profile: Profile
    squeezed: bool
    heads: Mapping[str, ClassHead]
    familiar: Mapping[Branch, Familiar]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels in the order of the scores; the last is `UNKNOWN`."""
        return (*self.labels, UNKNOWN)

    def scores(self, branch: Branch, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores (labels + 1,), before softmax, of pooled features (width,) along a branch; the last is unknown.

        Raises KeyError on a branch that was not taught.
        """
        head, familiar = self.heads[branch.network], self.familiar[branch]
        scores = np.empty(len(self.labels) + 1, np.float32)
        scores[:-1] = head.scores(features)
        scores[-1] = unknown_score(scores[:-1], familiar.distance(features), familiar.threshold)
        return scores

    @classmethod
    def read(cls, path: Path) -> "Taught":
        """Read a file that `write` wrote; raises InvalidInputError if it cannot be read or is damaged."""
        content = files.read(path, "classes", _MOST_BYTES)
        subject = f"classes {path}"
        with documents.refusing(f"{subject}: is damaged, or no file of `adainf teach`"):
            length = int.from_bytes(content[:8], "little")
            if length > _MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes; at most {_MOST_HEADER_BYTES} are read")
            tensors = safetensors.load(content)
            described = documents.parsed_json(content[8 : 8 + length], subject)["__metadata__"]["adainf"]
            document = documents.parsed_json(described, subject)
            if document["schema"] != _SCHEMA:
                raise ValueError(f"schema is {one_line(repr(document['schema']), 60)}; must be {_SCHEMA!r}")
            measured = _mapping(document["profile"], subject)
        profile = Profile.of_document(measured, f"{subject}: profile")
        with documents.refusing(f"{subject}: is damaged"):
            return cls._checked(document, profile, tensors)

    @classmethod
    def _checked(
        cls, document: Mapping[str, Any], profile: Profile, tensors: Mapping[str, NDArray[np.float32]]
    ) -> "Taught":
        labels = tuple(document["labels"])
        if (
            not isinstance(document["labels"], list)
            or not 2 <= len(labels) <= MOST_LABELS
            or len(set(labels)) < len(labels)
        ):
            raise ValueError(f"labels: must be 2 to {MOST_LABELS}, each once")
        for label in labels:
            check_label(label, ValueError)
        if not isinstance(document["squeezed"], bool):
            raise ValueError("squeezed: must be true or false")  # noqa: TRY004
        branches = [Branch.parse(measured.branch) for measured in profile.branches]
        heads = {}
        for key in sorted({branch.network for branch in branches}):
            weight = _tensor(tensors, f"{key}/weight", (len(labels), None))
            heads[key] = ClassHead(weight, _tensor(tensors, f"{key}/bias", (len(labels),)))
        familiar = {}
        for branch in branches:
            width = heads[branch.network].weight.shape[1]
            threshold = float(document["thresholds"][str(branch)])
            if not 0 < threshold <= 2:
                raise ValueError(f"threshold of {branch}: is {threshold}; must be above 0 and at most 2")
            familiar[branch] = Familiar(_tensor(tensors, f"{branch}/sights", (None, width)), threshold)
        return cls(labels, profile, document["squeezed"], heads, familiar)

    def write(self, path: Path) -> None:
        """Write the classes to `path` atomically; raises InvalidInputError if that fails."""
        write_atomically(path, self._content())

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of what a file of these classes holds: equal for equal classes."""
        return hashlib.sha256(self._content()).hexdigest()

    def _content(self) -> bytes:
        document = {
            "schema": _SCHEMA,
            "labels": self.labels,
            "squeezed": self.squeezed,
            "thresholds": {str(branch): familiar.threshold for branch, familiar in self.familiar.items()},
            "profile": self.profile.document(),
        }
        tensors: dict[str, NDArray[np.float32]] = {}
        for key, head in self.heads.items():
            tensors |= {f"{key}/weight": head.weight, f"{key}/bias": head.bias}
        for branch, familiar in self.familiar.items():
            tensors[f"{branch}/sights"] = familiar.sights
        contiguous = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
        content: bytes = safetensors.save(contiguous, {"adainf": json.dumps(document)})
        return content


def before_of(path: Path) -> Path:
    """Return where the file is kept that was replaced by the one at `path`: FILE.before."""
    return path.parent / f"{path.name}.before"


def keep_before(path: Path) -> None:
    """Copy a file of classes to FILE.before, with its owner and mode; raises InvalidInputError if that fails."""
    try:
        files.replace(before_of(path), path.read_bytes(), 0o600, like=path)
    except OSError as error:
        raise InvalidInputError(f"{before_of(path)}: cannot be written ({error.strerror})") from None


def roots(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the square roots of features, with their signs.

    Few large features would outvote the many small ones: of 20 categories taught by 10 photographs each, the roots get
    97.7 % right along EfficientNet-Lite0's full branch, the features themselves 97.2.
    """
    return np.copysign(np.sqrt(np.abs(features)), features)


def unknown_score(classes: NDArray[np.float32], distance: float, threshold: float) -> float:
    """Return the score of `UNKNOWN` beside the classes' (labels,).

    At the threshold `UNKNOWN` is as likely as all classes together.
    """
    return float(np.logaddexp.reduce(classes)) + _SLOPE * (distance / threshold - 1)


def check_label(label: object, error: type[Exception] = InvalidInputError) -> None:
    """Raise an error unless a label can be taught."""
    if not isinstance(label, str) or not label.strip() or len(label) > LONGEST_LABEL:
        raise error(f"label {one_line(repr(label), 60)}: must be a text of 1 to {LONGEST_LABEL} characters")
    if printable(label, LONGEST_LABEL) != label:
        raise error(f"label {label!r}: has characters that cannot be printed")
    if label == UNKNOWN:
        raise error(f"label {UNKNOWN!r}: stands for what looks like none of the classes; name it otherwise")


def _mapping(value: object, subject: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{subject}: is damaged: profile: must be an object")
    return value


def _tensor(
    tensors: Mapping[str, NDArray[np.float32]], name: str, shape: tuple[int | None, ...]
) -> NDArray[np.float32]:
    """Return a tensor of this shape, where None is any size up to the most; raises ValueError on any other."""
    tensor = tensors.get(name)
    if tensor is None:
        raise ValueError(f"tensor {name} is missing")
    most = (_MOST_SIGHTS, _MOST_WIDTH)
    fits = tensor.dtype == np.float32 and len(tensor.shape) == len(shape)
    for axis, (size, wanted) in enumerate(zip(tensor.shape, shape, strict=False)):
        fits = fits and (size == wanted if wanted is not None else 0 < size <= most[axis])
    if not fits or not np.isfinite(tensor).all():
        raise ValueError(f"tensor {name} is {tensor.dtype} {tensor.shape}, or not finite")
    return tensor
