"""The GPU engine's interface to CUDA; tests replace it with a CPU implementation."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Cuda", "Device", "Eager", "Forward", "RecordedPass"]

Forward = Callable[[Tensor], Tensor]

_RUNS_BEFORE = 3  # the first runs select kernels and allocate memory
_FRAMES_FIRST, _RECORDINGS_LAST = -1, 0  # stream priorities: kernels of the lower number start first


class RecordedPass(Protocol):
    """A forward pass with fixed memory: it reads `given`, and `gives` holds its result until the next run."""

    given: Tensor
    gives: Tensor

    def replay(self) -> None:
        """Run the pass again in the current stream."""


class Device(Protocol):
    """A device that runs recorded forward passes, with one stream for frames and another for recording."""

    name: str
    place: torch.device
    dtype: torch.dtype

    def frames(self) -> contextlib.AbstractContextManager[None]:
        """Queue the calling thread's work on the frame stream inside the context."""

    def wait(self) -> None:
        """Wait until the frame stream is idle."""

    def settle(self) -> None:
        """Wait until every stream is idle, for example after moving weights."""

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        """Record `forward` with `given` as its permanent input buffer; takes seconds for new shapes."""

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        """Return pinned host memory (count,) that the device accesses directly; it is reused once released."""

    def give_back(self) -> None:
        """Return unused device memory to the system, for other programs."""


class _Graph:
    """A CUDA graph: a hundred or so kernels with a single launch.

    In eager mode the CPU launches each kernel on its own, which takes longer than the kernels run.
    """

    def __init__(self, graph: torch.cuda.CUDAGraph, given: Tensor, gives: Tensor) -> None:
        self.given, self.gives = given, gives
        self._graph = graph

    def replay(self) -> None:
        self._graph.replay()


class Eager:
    """A forward pass that cannot be captured, such as one that synchronises with the CPU; it runs in eager mode."""

    def __init__(self, forward: Forward, given: Tensor) -> None:
        self.given = given
        self._forward = forward
        self.gives = forward(given)

    def replay(self) -> None:
        self.gives = self._forward(self.given)


class Cuda:
    """An NVIDIA GPU in half precision."""

    dtype = torch.float16

    def __init__(self, place: torch.device) -> None:
        self.place = torch.device("cuda", place.index or 0)
        self.name = torch.cuda.get_device_name(self.place)
        self._frames = torch.cuda.Stream(self.place, priority=_FRAMES_FIRST)  # type: ignore[no-untyped-call]
        self._recordings = torch.cuda.Stream(self.place, priority=_RECORDINGS_LAST)  # type: ignore[no-untyped-call]
        # Graphs run one at a time, so all of them share one pool for intermediate results.
        self._pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def frames(self) -> Iterator[None]:
        with torch.cuda.device(self.place), torch.cuda.stream(self._frames):
            yield

    def wait(self) -> None:
        self._frames.synchronize()

    def settle(self) -> None:
        torch.cuda.synchronize(self.place)

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        with torch.cuda.device(self.place), torch.cuda.stream(self._recordings):
            for _ in range(_RUNS_BEFORE):
                forward(given)
            self._recordings.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                gives = self._captured(graph, forward, given)
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError:
                return Eager(forward, given)
            self._recordings.synchronize()
        return _Graph(graph, given, gives)

    def _captured(self, graph: torch.cuda.CUDAGraph, forward: Forward, given: Tensor) -> Tensor:
        # Other threads keep working, so the ban on calls that cannot be captured is limited to this one. Unlike this,
        # `torch.cuda.graph` synchronises the whole device, and releases memory that frames are about to reuse.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            gives = forward(given)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # the graph is incomplete
                graph.capture_end()
            raise
        graph.capture_end()
        return gives

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, pin_memory=True)

    def give_back(self) -> None:
        with torch.cuda.device(self.place):
            torch.cuda.empty_cache()
