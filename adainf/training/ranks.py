"""Several processes under `torchrun`: who this process is, and what all of them agree on."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from adainf.engines.processor import usable_processors

__all__ = ["Ranks", "joined"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `count`. The first one tells, writes and decides."""

    rank: int = 0
    count: int = 1
    on_this_box: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """Threads that a process may take without taking them from another on this box."""
        return max(1, usable_processors() // self.on_this_box)

    @property
    def device(self) -> torch.device:
        """This process's GPU where there are any, else the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.rank % self.on_this_box % torch.cuda.device_count())

    def own(self, batch: int) -> range:
        """This process's positions of a batch that all share."""
        return range(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients."""
        self.average_all(parameter.grad for parameter in parameters if parameter.grad is not None)

    def average_all(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the mean of all processes' tensors, in their place."""
        own = list(tensors)
        if self.count == 1 or not own:
            return
        flat = torch.cat([tensor.flatten() for tensor in own])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(own, torch.split(flat, [tensor.numel() for tensor in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average(self, values: Tensor) -> Tensor:
        """The mean over all processes of some numbers."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of some numbers."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def agreed(self, value: float) -> float:
        """The first process's value, for all."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(told, 0)
        return float(told)


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that `torchrun` started, connected; or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Ranks(distributed.get_rank(), count, int(os.environ.get("LOCAL_WORLD_SIZE", count)))
    finally:
        distributed.destroy_process_group()
