"""The engine protocol, and the types that engines share."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import AdainfError, UnavailableError
from adainf.branch import REFERENCE, Branch
from adainf.outline import Outline

__all__ = [
    "SIZES",
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
"""Batch sizes of engines that gain from batching; a batch in between is padded to the next size."""


class OutOfMemoryError(UnavailableError):
    """The device has too little memory for the model; the engine has released its own and can be tried again.

    >>> try:
    ...     answer = model(picture)
    ... except adainf.OutOfMemoryError:
    ...     time.sleep(1)                                   # another program has the GPU's memory
    """


class UnsupportedExportError(AdainfError):
    """A network that cannot be exported to ONNX; the torch engine runs it."""


@dataclass(frozen=True, slots=True)
class NetworkPart:
    """Consecutive blocks with no decision between them; the choice of the next part may depend on their output.

    start, stop: the first block, and one past the last. kept: whether block `start` itself runs, or its shortcut. The
    part with the first block includes the stem, the part with the last block the head.
    """

    resolution: int
    start: int
    stop: int
    kept: bool = True

    def __str__(self) -> str:
        return f"{self.resolution}:{self.start}-{self.stop}{'' if self.kept else ' skipped'}"


def parts_after_first(droppable: Sequence[bool]) -> list[tuple[int, int]]:
    """Return (start, stop) of each part after the first block; every droppable block begins a new part."""
    starts = [index for index in range(1, len(droppable)) if index == 1 or droppable[index]]
    return list(itertools.pairwise([*starts, len(droppable)]))


def parts(resolution: int, droppable: Sequence[bool]) -> list[NetworkPart]:
    """Return every part that `look` and `complete` may run: droppable ones both kept and skipped."""
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
    """A picture after the first block, from where it can continue along any branch of its resolution.

    embedding: the content-aware scheduler's input (width,). hidden: activations in the engine's own format.
    """

    embedding: NDArray[np.float32]
    hidden: Any
    resolution: int
    network: str = REFERENCE


class Exportable(Protocol):
    """A network that the ONNX engine can run."""

    @property
    def outline(self) -> Outline:
        """The network's metadata, available without loading it."""

    def export(self, what: Branch | NetworkPart) -> bytes:
        """Return the float32 ONNX model of a branch or of a part of the network, for a batch of one.

        A branch maps `images` (1, 3, resolution, resolution) to `scores` (1, classes) and pooled `features` (1, width),
        a part `before` to `after`.
        Raises UnsupportedExportError if the network cannot be exported.
        """


class Engine(Protocol):
    """Runs pictures along branches on one device; `prepare` and `run` are separate so that each can be timed.

    One of the networks is the reference; all have the same classes. sizes: supported batch sizes, ascending from 1;
    (1,) without batching. `prepare` is thread-safe. The other methods are not, and `make_ready` and `run` must stay on
    one thread.
    """

    name: str
    device: str
    on_gpu: bool
    threads: int
    sizes: tuple[int, ...]

    @property
    def outlines(self) -> Mapping[str, Outline]:
        """Metadata of each network, by what its branches name it."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the scores."""
        ...

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Make each branch ready, so that its first frame takes no longer than later ones.

        pictures: the batch size, one of `sizes`.
        """
        ...

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Return whether a branch is ready to run a batch of `pictures`, one of `sizes`, without delay.

        If it is not, the engine's background thread prepares it while frames are answered as before; call again. An
        engine without a background thread makes the branch ready before it returns.
        """
        ...

    def make_parts_ready(self, resolution: int, network: str = REFERENCE) -> bool:
        """Return whether `look` and `complete` can run without waiting for the background thread; if not, call again.

        An engine without a background thread prepares the parts at the first `look` or `complete`.
        """
        ...

    def close(self) -> None:
        """Stop the engine's threads and release its memory; the engine cannot be used afterwards."""
        ...

    def prepare(
        self,
        picture: NDArray[np.uint8],
        resolution: int,
        network: str = REFERENCE,
        *,
        mirrored: bool = False,
        squeezed: bool = False,
    ) -> Any:
        """Convert a BGR picture (height, width, 3), or its mirror image, to a network's input at `resolution`.

        squeezed: the whole picture fills the square, as taught classes may want it, instead of its central square.
        """
        ...

    def run(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Return scores before softmax (pictures, classes), each picture, prepared for it, along its own branch.

        Each block runs at most once per resolution. A skipped block is not executed. Raises OutOfMemoryError, as
        `prepare` does, if another program has taken the device's memory.
        """
        ...

    def features(self, inputs: Sequence[Any], branches: Sequence[Branch]) -> list[NDArray[np.float32]]:
        """Return each picture's pooled features (width,) along its own branch, for heads with other classes.

        The width is the network's. Runs and raises what `run` does.
        """
        ...

    def look(self, prepared: Any, resolution: int, network: str = REFERENCE) -> FirstLook:
        """Run a prepared picture through the first block of a network."""
        ...

    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Return scores before softmax (classes,) for a picture from `look`; the first block has run already."""
        ...
