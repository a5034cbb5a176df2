"""A step of gpu.py: the GPU engine against eager and compiled runs, against its own graphs, and against the CPU.

On a processor (--device cpu) the engine's graphs are forward passes as they are: that says only that the step runs.
"""

import contextlib
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gpu_findings import Findings, Step, arguments
from numpy.typing import NDArray
from tables import Figure
from torch import Tensor

from adainf import backbones, shipped
from adainf.backbones import RANDOM, Backbone, Options
from adainf.backbones.defaults import default_weights
from adainf.backbones.macs import branch_space
from adainf.branch import REFERENCE, Branch, BranchSpace
from adainf.engines.gpu.cuda import Cuda, Eager, Forward, RecordedPass
from adainf.engines.gpu.engine import GpuEngine
from adainf.engines.torch import TorchEngine
from adainf.profile import Profile
from adainf.schedulers import LookupTable

DEFAULT, OTHER = "timm/tf_efficientnet_lite0", "openclip/ViT-B-32"
_SIZES = (1, 16, 4, 32, 8, 2)  # the sizes with limits come first, in case time runs out
_SECONDS = 28.0
_SHARES = (1.0, 0.75, 0.5, 0.33)

Picture = NDArray[np.uint8]


class Processor:
    """A CPU stand-in for a GPU: runs directly what a GPU would have recorded."""

    name = "processor"
    place = torch.device("cpu")
    dtype = torch.float32

    def frames(self) -> contextlib.AbstractContextManager[None]:
        """Return an empty context: there are no streams."""
        return contextlib.nullcontext()

    def wait(self) -> None:
        """Do nothing: all work is synchronous."""

    def settle(self) -> None:
        """Do nothing: all work is synchronous."""

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        """Return the forward pass itself: nothing is recorded."""
        return Eager(forward, given)

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        """Return ordinary memory."""
        return torch.empty(count, dtype=dtype)

    def give_back(self) -> None:
        """Do nothing: there is nothing to release."""


class Remembering:
    """A device wrapper that remembers the last recording."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.last: RecordedPass | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def record(self, forward: Forward, given: Tensor) -> RecordedPass:
        """Record the forward pass and remember the recording."""
        self.last = self._device.record(forward, given)
        return self.last


class Subject:
    """A network on the engine, with a graph per branch and number of pictures."""

    def __init__(self, name: str, device: str) -> None:
        self.name = name
        self.device: Any = Remembering(Cuda(torch.device("cuda")) if device == "cuda" else Processor())
        self.engine = GpuEngine({REFERENCE: network(name)}, self.device)
        self.space, self.branches = branches_of(name)
        drawn = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
        self.inputs = {branch.resolution: self.engine.prepare(drawn, branch.resolution) for branch in self.branches}
        self.picture = drawn
        self._graphs: dict[tuple[Branch, int], RecordedPass] = {}

    def graph(self, branch: Branch, pictures: int) -> RecordedPass:
        """Return the graph of a branch for a number of pictures, recorded on first use."""
        if (branch, pictures) not in self._graphs:
            self.device.last = None
            self.engine.warm_up([branch], pictures)
            if self.device.last is None:
                raise RuntimeError(f"{branch}: nothing was recorded for {pictures}")
            self._graphs[branch, pictures] = self.device.last
        return self._graphs[branch, pictures]

    def graph_ms(self, branch: Branch, pictures: int, times: int) -> float:
        """Return the mean milliseconds of a replay, over `times` in a row."""
        recording = self.graph(branch, pictures)
        with torch.inference_mode(), self.device.frames():
            recording.replay()
            self.device.wait()
            begun = time.perf_counter()
            for _ in range(times):
                recording.replay()
            self.device.wait()
        return 1e3 * (time.perf_counter() - begun) / times

    def run_ms(self, along: Sequence[Branch], times: int) -> float:
        """Return the median milliseconds of `run` with one picture per entry of `along`, after recording the graphs."""
        for branch, pictures in Counter(along).items():
            self.graph(branch, pictures)
        inputs = [self.inputs[branch.resolution] for branch in along]
        return median_ms(lambda: self.engine.run(inputs, along), times)


def network(name: str) -> Backbone:
    """Return the default network with its own weights if available; other networks with random weights."""
    labels = ("a person", "a parcel") if name.startswith("openclip/") else ()
    weights = default_weights(name) if name == DEFAULT else RANDOM
    return backbones.load(name, Options(weights=weights or RANDOM, labels=labels))


def branches_of(name: str) -> tuple[BranchSpace, list[Branch]]:
    """Return the branch space and four branches, the full one first: the shipped profile's, or those near _SHARES."""
    if name == DEFAULT:
        profile = Profile.read(shipped.find("profiles", "efficientnet-lite0", ".json")).alone(REFERENCE)
        return profile.space.reference, [choice.branch for choice in reversed(LookupTable(profile, most=4).frontier)]
    space = branch_space(network(name), [])
    return space, [min(space, key=lambda branch: abs(space.fraction(branch) - share)) for share in _SHARES]


def median_ms(call: Callable[[], object], times: int) -> float:
    """Return the median milliseconds of a call, after three warm-up calls."""
    milliseconds = []
    for number in range(times + 3):
        begun = time.perf_counter()
        call()
        if number >= 3:
            milliseconds.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(milliseconds)


def engine(step: Step, found: Findings) -> None:
    """Measure the engine's times, and the deviation of its scores from the CPU's."""
    times, end = (3, 0.0) if step.quick else (40, time.monotonic() + _SECONDS)
    for name in (DEFAULT,) if step.quick else (DEFAULT, OTHER):
        begun = time.monotonic()
        subject = Subject(name, step.device)
        try:
            one_picture(subject, step.device, found, times)
            together(subject, found, times)
            for pictures in _SIZES:
                for branch in subject.branches:
                    if pictures == 1 or time.monotonic() < end:
                        row(subject, branch, pictures, found, times)
        finally:
            subject.engine.close()
        memory = f", {torch.cuda.max_memory_allocated() >> 20} MiB" if step.device == "cuda" else ""
        found.note(f"{name}: {time.monotonic() - begun:.0f} s with recording{memory}")


def one_picture(subject: Subject, device: str, found: Findings, times: int) -> None:
    """Measure one picture along the full branch: engine, bare graph, eager modules; and compare the scores."""
    full = subject.branches[0]
    own, graph = subject.run_ms([full], times), subject.graph_ms(full, 1, times)
    plain = TorchEngine({REFERENCE: network(subject.name)}, device)
    prepared = plain.prepare(subject.picture, full.resolution)
    eager = median_ms(lambda: plain.run([prepared], [full]), times)
    headings = ("network", "engine", "graph alone", "modules one by one", "the same / engine")
    cells = (f"{own:.3f}", f"{graph:.3f}", f"{eager:.3f}", f"{eager / own:.1f}")
    found.row("Milliseconds for one picture", headings, subject.name, *cells)
    if device == "cuda" and isinstance(subject.graph(full, 1), Eager):
        found.note(f"{subject.name}: no graph can hold the full branch; it runs as it is")
    exact = TorchEngine({REFERENCE: network(subject.name)}, "cpu")
    expected = exact.run([exact.prepare(subject.picture, full.resolution)], [full])
    difference = np.abs(subject.engine.run([subject.inputs[full.resolution]], [full]) - expected).max()
    what = f"{subject.name}: scores apart from the CPU's, at most, to the largest score"
    found.figure(Figure(what, float(difference / np.abs(expected).max()), 0.01, form="{:.4f}"))


def together(subject: Subject, found: Findings, times: int) -> None:
    """Measure sixteen pictures along one branch, and along four."""
    full = subject.branches[0]
    ratio = subject.run_ms([full] * 16, times) / subject.graph_ms(full, 16, times)
    found.figure(Figure(f"{subject.name}: 16 pictures along one branch, to the graph's time", ratio, 1.3))
    graphs = sum(subject.graph_ms(branch, 4, times) for branch in subject.branches)
    mixed = subject.run_ms([branch for branch in subject.branches for _ in range(4)], times)
    found.figure(Figure(f"{subject.name}: 16 along four branches, to the sum of four graphs", mixed / graphs, 1.2))


def compiled(step: Step, found: Findings) -> None:
    """Measure `torch.compile` on the same networks, beside the engine's graphs."""
    times = 3 if step.quick else 40
    for name in (OTHER, DEFAULT):
        subject = Subject(name, step.device)
        full = subject.branches[0]
        plain = network(name).to(subject.device.place, subject.device.dtype).to(memory_format=torch.channels_last)
        run = torch.compile(plain, mode="reduce-overhead" if step.device == "cuda" else "default", dynamic=False)
        side = full.resolution
        with torch.inference_mode():
            shape = (1, 3, side, side)
            images = torch.zeros(shape, dtype=subject.device.dtype, device=subject.device.place)
            images = images.contiguous(memory_format=torch.channels_last)
            begun = time.monotonic()
            for _ in range(3):
                run(images).float().cpu()
            compile_seconds = time.monotonic() - begun
            milliseconds = median_ms(lambda: run(images).float().cpu(), times)  # noqa: B023
        own = subject.run_ms([full], times)
        headings = ("network", "compiled", "compiling, s", "engine", "compiled / engine")
        cells = (f"{milliseconds:.3f}", f"{compile_seconds:.0f}", f"{own:.3f}", f"{milliseconds / own:.2f}")
        found.row("Milliseconds for one picture, torch.compile", headings, name, *cells)
        subject.engine.close()


def row(subject: Subject, branch: Branch, pictures: int, found: Findings, times: int) -> None:
    """Add a table row with a branch's time for a number of pictures together."""
    graph, run = subject.graph_ms(branch, pictures, times), subject.run_ms([branch] * pictures, times)
    headings = ("network", "branch", "MACs", "pictures", "graph alone", "engine", "engine / graph")
    share = f"{subject.space.fraction(branch):.2f}"
    cells = (f"{graph:.3f}", f"{run:.3f}", f"{run / graph:.2f}")
    found.row(
        "Milliseconds by branch and number of pictures",
        headings,
        subject.name,
        str(branch),
        share,
        str(pictures),
        *cells,
    )


def main() -> int:
    """Run the step; return the exit status."""
    warnings.filterwarnings("ignore")
    step, found, part = arguments(__doc__, "engine", "compile")
    {"engine": engine, "compile": compiled}[part](step, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
