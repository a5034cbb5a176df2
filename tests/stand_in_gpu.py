"""The processor in a GPU's place: it runs what a GPU would have recorded, and does what a test tells it."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adainf.engines.gpu.cuda import Eager, Forward, RecordedPass

__all__ = ["Processor"]

_SECONDS = 30.0


class _Counted(Eager):
    """Tells each time how many pictures it ran."""

    def __init__(self, forward: Forward, given: Tensor, tell: Callable[[int], None]) -> None:
        super().__init__(forward, given)
        self._tell = tell

    def replay(self) -> None:
        self._tell(len(self.given))
        super().replay()


@dataclass
class Processor:
    """The device. runs: how many pictures each replay held. may_record: unset makes it wait."""

    name: str = "stand-in"
    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    runs: list[int] = field(default_factory=list)
    recorded: list[tuple[int, ...]] = field(default_factory=list)
    may_record: threading.Event = field(default_factory=threading.Event)
    memory: bool = True
    given_back: int = 0

    def __post_init__(self) -> None:
        self.may_record.set()

    @contextlib.contextmanager
    def frames(self) -> Iterator[None]:
        if not self.memory:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
        yield

    def wait(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        assert self.may_record.wait(_SECONDS)
        self.recorded.append(tuple(given.shape))
        return _Counted(forward, given, self.runs.append)

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype)

    def give_back(self) -> None:
        self.given_back += 1
