"""Forward passes on an NVIDIA GPU that are recorded once and then started as one piece of work."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adainf.branch import Branch

__all__ = ["Graphs"]

_RUNS_BEFORE = 3  # kernels are chosen in the first ones


@dataclass(frozen=True, slots=True)
class _Graph:
    """given, gives: the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    given: Tensor
    gives: Tensor


class Graphs:
    """A CUDA graph for each branch that single pictures take; at most so many, the one not used for longest goes.

    Eagerly the host starts some hundred kernels a frame, which takes longer than they run.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._graphs: OrderedDict[Branch, _Graph | None] = OrderedDict()

    def run(self, branch: Branch, forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """What `forward` makes of the images, which have one shape for a branch; overwritten by the branch's next run.

        Where it does what no graph can hold, such as to wait for the host, it runs as it is.
        """
        if branch not in self._graphs:
            self._graphs[branch] = _recorded(forward, images)
            while len(self._graphs) > self._most:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(branch)
        graph = self._graphs[branch]
        if graph is None:
            return forward(images)
        graph.given.copy_(images)
        graph.graph.replay()
        return graph.gives

    def forget(self) -> None:
        """Let go of all, with their memory: the weights that they read are moved."""
        self._graphs.clear()


def _recorded(forward: Callable[[Tensor], Tensor], images: Tensor) -> _Graph | None:
    with torch.cuda.device(images.device):
        given = images.clone()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_RUNS_BEFORE):
                forward(given)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                gives = forward(given)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError:
            return None
    return _Graph(graph, given, gives)
