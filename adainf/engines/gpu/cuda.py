"""Everything that the GPU engine asks of CUDA; a test puts the processor in its place."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Cuda", "Device", "Eager", "Forward", "RecordedPass"]

Forward = Callable[[Tensor], Tensor]

_RUNS_BEFORE = 3  # the first ones choose kernels and take memory
_FRAMES_FIRST, _RECORDINGS_LAST = -1, 0  # of two streams' kernels those of the lower number start first


class RecordedPass(Protocol):
    """A forward pass that reads and writes the same memory each time: `gives` holds its result until the next run."""

    given: Tensor
    gives: Tensor

    def replay(self) -> None:
        """Run it again, in the current stream."""


class Device(Protocol):
    """A device that runs recorded forward passes. Frames and recordings keep to streams of their own."""

    name: str
    place: torch.device
    dtype: torch.dtype

    def frames(self) -> contextlib.AbstractContextManager[None]:
        """Inside, work of the calling thread goes into the frames' stream."""

    def wait(self) -> None:
        """Wait for all that was put into the frames' stream."""

    def settle(self) -> None:
        """Wait for all that was put into any stream, as after weights were moved."""

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        """Record what `forward` makes of `given`, which stays what it reads; takes seconds where shapes are new."""

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        """Memory of the processor (count,) that the device reads and writes by itself, taken again once let go of."""

    def give_back(self) -> None:
        """Give other programs the memory that nothing here uses."""


class _Graph:
    """A CUDA graph: some hundred kernels that start as one piece of work.

    Eagerly the processor starts them one by one, which takes longer than they run.
    """

    def __init__(self, graph: torch.cuda.CUDAGraph, given: Tensor, gives: Tensor) -> None:
        self.given, self.gives = given, gives
        self._graph = graph

    def replay(self) -> None:
        self._graph.replay()


class Eager:
    """A forward pass that no graph can hold, such as one that waits for the processor: it runs as it is."""

    def __init__(self, forward: Forward, given: Tensor) -> None:
        self.given = given
        self._forward = forward
        self.gives = forward(given)

    def replay(self) -> None:
        self.gives = self._forward(self.given)


class Cuda:
    """An NVIDIA GPU, in half precision."""

    dtype = torch.float16

    def __init__(self, place: torch.device) -> None:
        self.place = torch.device("cuda", place.index or 0)
        self.name = torch.cuda.get_device_name(self.place)
        self._frames = torch.cuda.Stream(self.place, priority=_FRAMES_FIRST)  # type: ignore[no-untyped-call]
        self._recordings = torch.cuda.Stream(self.place, priority=_RECORDINGS_LAST)  # type: ignore[no-untyped-call]
        # Graphs run one after the other, so all of them use the same memory for what comes between.
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
        # Other threads go on meanwhile, so only this one must do nothing that cannot be recorded. `torch.cuda.graph`
        # would also wait for the whole device, and give back memory that frames are about to use again.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            gives = forward(given)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # that it is no whole graph
                graph.capture_end()
            raise
        graph.capture_end()
        return gives

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, pin_memory=True)

    def give_back(self) -> None:
        with torch.cuda.device(self.place):
            torch.cuda.empty_cache()
