"""A step of gpu.py, run by its name alone: what cuDNN's planning costs, and whether other convolutions can avoid it.

cuDNN plans each convolution where it meets a new shape, and compiles kernels for depthwise ones. Beside the network as
the engine runs it stand others that give the same scores: depthwise convolutions by PyTorch's own kernels, which want
the channels first; convolutions of one pixel as matrix products; all of it with the channels first; all of it without
cuDNN. Each runs in a process of its own, so that it finds nothing planned; all plan at once, since that is work for a
processor, and are timed one after the other.
"""

import dataclasses
import functools
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from gpu_findings import Findings, Step, arguments
from torch import Tensor, nn
from torch.nn import functional as nn_functional

from adainf import backbones
from adainf.backbones import RANDOM, Options

_NETWORK = "timm/tf_efficientnet_lite0"


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """A way to run the convolutions."""

    channels_last: bool
    own_depthwise: bool
    products: bool
    cudnn: bool = True


WAYS = {
    "channels last (the engine)": Way(channels_last=True, own_depthwise=False, products=False),
    "channels last, own depthwise": Way(channels_last=True, own_depthwise=True, products=False),
    "channels last, products": Way(channels_last=True, own_depthwise=False, products=True),
    "channels last, own depthwise, products": Way(channels_last=True, own_depthwise=True, products=True),
    "channels first": Way(channels_last=False, own_depthwise=False, products=False),
    "channels first, own depthwise, products": Way(channels_last=False, own_depthwise=True, products=True),
    "channels last, no cuDNN": Way(channels_last=True, own_depthwise=False, products=False, cudnn=False),
    "channels first, no cuDNN": Way(channels_last=False, own_depthwise=False, products=False, cudnn=False),
    "channels first, products, no cuDNN": Way(channels_last=False, own_depthwise=False, products=True, cudnn=False),
}


class _Product(nn.Module):
    """A 1 × 1 convolution computed as a matrix product."""

    def __init__(self, convolution: nn.Conv2d, *, channels_last: bool) -> None:
        super().__init__()
        self.weight, self.bias, self._channels_last = convolution.weight, convolution.bias, channels_last

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight.flatten(1)
        if self._channels_last:
            return nn_functional.linear(images.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)
        product = (weight @ images.flatten(2)).unflatten(2, images.shape[2:])
        return product if self.bias is None else product + self.bias[:, None, None]


class _OwnDepthwise(nn.Module):
    """A depthwise convolution that uses PyTorch's own kernel instead of cuDNN's."""

    def __init__(self, convolution: nn.Conv2d, *, channels_last: bool) -> None:
        super().__init__()
        self._convolution = convolution
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, images: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=False):
            convolved: Tensor = self._convolution(images.contiguous())
        return convolved.contiguous(memory_format=self._format)


def changed(network: nn.Module, way: Way) -> nn.Module:
    """Replace the network's convolutions in place, and return it."""
    for name, module in list(network.named_children()):
        if not isinstance(module, nn.Conv2d):
            changed(module, way)
        elif way.products and module.kernel_size == (1, 1) and module.groups == 1:
            setattr(network, name, _Product(module, channels_last=way.channels_last))
        elif way.own_depthwise and module.groups > 1:
            setattr(network, name, _OwnDepthwise(module, channels_last=way.channels_last))
    return network


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Seconds of the first run and of recording, milliseconds of a replay, and a score."""

    pictures: int
    first: float
    recording: float
    replay: float
    score: float


def timed(way: Way, device: str, times: int, sizes: tuple[int, ...], turns: Any) -> list[Times]:
    """Return the times of one way for each number of pictures in `sizes`.

    On a CPU the network runs unrecorded. turns: a barrier at which all processes wait after planning, and a lock that
    one holds while it is timed.
    """
    all_planned, timing = turns
    warnings.filterwarnings("ignore")
    torch.backends.cudnn.enabled = way.cudnn
    place, dtype = torch.device(device), torch.float16 if device == "cuda" else torch.float32
    shape = torch.channels_last if way.channels_last else torch.contiguous_format
    network = changed(backbones.load(_NETWORK, Options(weights=RANDOM)), way).to(place, dtype)
    network = network.to(memory_format=shape)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    results, replays = [], []
    with torch.inference_mode():
        for pictures in sizes:
            generator = torch.Generator().manual_seed(0)
            images = torch.randn(pictures, 3, 224, 224, generator=generator).to(place, dtype)
            images = images.contiguous(memory_format=shape)
            wait()
            begun = time.perf_counter()
            scores: Tensor = network(images)
            wait()
            planned = time.perf_counter()
            replays.append(_recorded(network, images) if device == "cuda" else functools.partial(network, images))
            recorded = time.perf_counter()
            results.append(Times(pictures, planned - begun, recorded - planned, 0.0, float(scores[0, 0])))
        all_planned.wait()
        with timing:
            for number, replay_graph in enumerate(replays):
                replay_graph()
                wait()
                begun = time.perf_counter()
                for _ in range(times):
                    replay_graph()
                wait()
                replay = 1e3 * (time.perf_counter() - begun) / times
                results[number] = dataclasses.replace(results[number], replay=replay)
    return results


def _recorded(network: nn.Module, images: Tensor) -> Callable[[], object]:
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        network(images)
        torch.cuda.current_stream().synchronize()
        with torch.cuda.graph(graph):
            network(images)
    return graph.replay


def planning(step: Step, found: Findings) -> None:
    """Measure every way with one picture and with sixteen."""
    times, sizes = (2, (1,)) if step.quick else (50, (1, 16))
    with (
        multiprocessing.get_context("spawn").Manager() as manager,
        ProcessPoolExecutor(len(WAYS), multiprocessing.get_context("spawn")) as processes,
    ):
        turns = (manager.Barrier(len(WAYS)), manager.Lock())
        futures = {name: processes.submit(timed, way, step.device, times, sizes, turns) for name, way in WAYS.items()}
        headings = ("convolutions", "pictures", "first run, s", "recording, s", "graph, ms", "a score")
        for name, way_times in futures.items():
            for times_of_size in way_times.result():
                cells = (
                    f"{times_of_size.first:.2f}",
                    f"{times_of_size.recording:.2f}",
                    f"{times_of_size.replay:.3f}",
                    f"{times_of_size.score:.3f}",
                )
                found.row(f"{_NETWORK}: planning", headings, name, str(times_of_size.pictures), *cells)


def main() -> int:
    """Run the step; return the exit status."""
    step, found, _ = arguments(__doc__)
    planning(step, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
