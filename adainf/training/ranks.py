"""Process ranks under `torchrun`, and collective operations over them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor, distributed, nn

from adainf.engines.processor import usable_processors

__all__ = ["Ranks", "joined"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process among `count`.

    The first process reports, writes and decides. on_this_box: number of processes on this machine.
    """

    rank: int = 0
    count: int = 1
    on_this_box: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """This process's share of the machine's processors, at least 1."""
        return max(1, usable_processors() // self.on_this_box)

    @property
    def device(self) -> torch.device:
        """This process's GPU, or the CPU if there is no GPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.rank % self.on_this_box % torch.cuda.device_count())

    def own(self, batch: int) -> range:
        """Return this process's positions of a batch that all processes share."""
        return range(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients over all processes, in place."""
        self.average_all(parameter.grad for parameter in parameters if parameter.grad is not None)

    def average_all(self, tensors: Iterable[Tensor]) -> None:
        """Average the tensors over all processes, in place, with one collective call."""
        own = list(tensors)
        if self.count == 1 or not own:
            return
        flat = torch.cat([tensor.flatten() for tensor in own])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(own, torch.split(flat, [tensor.numel() for tensor in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over all processes; overwrites `values`."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes; overwrites `values`."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, value: float) -> float:
        """Return the first process's `value` in every process."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)


@contextmanager
def joined() -> Iterator[Ranks]:
    """Connect the processes that `torchrun` started and yield their ranks; without `torchrun`, a single rank."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    # Default arguments in this module keep the process group that exists when it is first imported, as optimisers do
    # indirectly. The group's threads would then outlive `destroy_process_group` and sometimes abort the exit.
    import_module("torch.distributed.nn.functional")
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(distributed.get_rank(), count, int(os.environ.get("LOCAL_WORLD_SIZE", count)))
    finally:
        distributed.destroy_process_group()
