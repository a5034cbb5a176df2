"""What runs a frame along a branch."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import AdainfError, UnavailableError
from adainf.branch import Branch
from adainf.outline import Outline
from adainf.preprocessing import Preprocessing
from adainf.profile import WeightSet

if TYPE_CHECKING:
    from adainf.backbones import Backbone

__all__ = [
    "SIZES",
    "Adapted",
    "Engine",
    "Exportable",
    "FirstLook",
    "NetworkPart",
    "OutOfMemoryError",
    "UnsupportedExportError",
    "parts",
    "parts_after_first",
]


SIZES = (1, 2, 4, 8, 16, 32)
"""How many pictures an engine that gains by it runs together; groups in between are filled up to the next of these."""


class OutOfMemoryError(UnavailableError):
    """The device has no memory left for the model; the engine has given back what it held, and may be tried again."""


class UnsupportedExportError(AdainfError):
    """A network that cannot be written as an ONNX model; the torch engine runs it."""


@dataclass(frozen=True, slots=True)
class NetworkPart:
    """Blocks that run one after the other whatever is decided, so that what follows can depend on what they found.

    start, stop: the first block, or its shortcut where it is not kept, and one past the last. The stem belongs to the
    first block, the head to the last.
    """

    resolution: int
    start: int
    stop: int
    kept: bool = True

    def __str__(self) -> str:
        return f"{self.resolution}:{self.start}-{self.stop}{'' if self.kept else ' skipped'}"


def parts_after_first(droppable: Sequence[bool]) -> list[tuple[int, int]]:
    """Where the parts after the first block start and stop: at each block that may be skipped one begins."""
    starts = [index for index in range(1, len(droppable)) if index == 1 or droppable[index]]
    return list(itertools.pairwise([*starts, len(droppable)]))


def parts(resolution: int, droppable: Sequence[bool]) -> list[NetworkPart]:
    """All that `look` and `complete` may run: the first block, and those after it, each as it may be chosen."""
    return [
        NetworkPart(resolution, 0, 1),
        *(
            NetworkPart(resolution, start, stop, kept)
            for start, stop in parts_after_first(droppable)
            for kept in ((True, False) if droppable[start] else (True,))
        ),
    ]


@dataclass(frozen=True, slots=True)
class FirstLook:
    """A picture as it is after the first block, from where it can go along any branch of its resolution.

    embedding: what the content-aware scheduler sees of it (width,). hidden: the engine's own.
    """

    embedding: NDArray[np.float32]
    hidden: Any
    resolution: int
    weights: WeightSet


class Exportable(Protocol):
    """A network that the ONNX engine runs."""

    @property
    def outline(self) -> Outline:
        """What is known of it."""

    def export(self, what: Branch | NetworkPart) -> bytes:
        """The ONNX model of a branch, or of a part of the network; float32, for one picture.

        Of a branch: `images` (1, 3, resolution, resolution) → `scores` (1, classes). Of a part: `before` → `after`.
        Raises UnsupportedExportError where there can be none.
        """


@dataclass(frozen=True, slots=True)
class Adapted:
    """A second set of weights of an engine's backbone, and the branches that run with it; the others keep the first."""

    backbone: "Backbone"
    branches: frozenset[Branch]


class Engine(Protocol):
    """Runs pictures along branches on one device; `prepare`, then `run`, so that each can be timed.

    outline, adapted_outline: what it runs, and the same with a second set of weights where it has one.
    preprocessing: what `prepare` goes by. sizes: how many pictures it runs together along a branch, rising from 1;
    (1,) where it runs them one by one. `prepare` may be called from several threads at once, the other methods from
    one; `make_ready` and `run` never from two.
    """

    name: str
    device: str
    on_gpu: bool
    threads: int
    outline: Outline
    adapted_outline: Outline | None
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    sizes: tuple[int, ...]

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Make each branch ready, so that its first frame takes no longer than the next.

        pictures: so many together, one of `sizes`.
        """
        ...

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Whether so many pictures, one of `sizes`, run together along a branch without delay.

        Where they do not, that is being made ready meanwhile, by the engine's own thread where it has one, so ask
        again; frames are answered as before. An engine without such a thread makes it ready at once.
        """
        ...

    def make_parts_ready(self, resolution: int, weights: WeightSet) -> bool:
        """Whether `look` and `complete` need not wait for the engine's own thread; where they need, ask again.

        An engine without such a thread makes what they run at their first call.
        """
        ...

    def close(self) -> None:
        """End the engine's threads and give its memory back; it is not used any more."""
        ...

    def prepare(self, picture: NDArray[np.uint8], resolution: int, *, mirrored: bool = False) -> Any:
        """A BGR picture (height, width, 3), or its mirror image, as this engine's input at `resolution`."""
        ...

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Scores before softmax (pictures, classes), each picture along its own branch.

        Each block runs at most once a resolution. A skipped block is not executed. Raises OutOfMemoryError, as
        `prepare` does, where another program has taken the device's memory.
        """
        ...

    def look(self, prepared: Any, resolution: int, weights: WeightSet) -> FirstLook:
        """A prepared picture after the first block, with this set of weights."""
        ...

    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Scores before softmax (classes,) of a picture that was looked at, along these blocks; the first has run."""
        ...
