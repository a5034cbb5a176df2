"""The engine for a GPU: pictures that go along one branch run together, as one recorded graph."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.weights import outline
from adainf.base.errors import one_line
from adainf.branch import Branch
from adainf.engines.base import SIZES, Adapted, FirstLook, NetworkPart, OutOfMemoryError, parts, parts_after_first
from adainf.engines.gpu.cuda import Device, Forward, RecordedPass
from adainf.engines.gpu.graphs import Graphs
from adainf.engines.gpu.planless import has_depthwise, planless
from adainf.portions import portions
from adainf.preprocessing import looked_at
from adainf.profile import WeightSet
from adainf.schedulers.embedding import embedding

__all__ = ["GpuEngine"]

# Twelve branches of six sizes each, and the parts that a content-aware scheduler asks for.
_MOST_GRAPHS = 128


@dataclass(frozen=True, slots=True)
class _Along:
    """So many pictures together along a branch."""

    branch: Branch
    pictures: int


@dataclass(frozen=True, slots=True)
class _Through:
    """One picture through a part of the network."""

    part: NetworkPart
    weights: WeightSet


class GpuEngine:
    """Runs a backbone in half precision on a GPU.

    Pictures are cut out and shrunk by the processor, as for every engine, into memory that the GPU reads by itself.
    They go to it as bytes, and the graph normalises them.
    """

    name = "torch"
    on_gpu = True
    threads = 1
    sizes: tuple[int, ...] = SIZES

    def __init__(
        self, backbone: Backbone, device: Device, adapted: Adapted | None = None, most: int = _MOST_GRAPHS
    ) -> None:
        """adapted: another set of weights, for some branches. most: recordings that are kept.

        Raises OutOfMemoryError where there is no memory.
        """
        # Taken before the weights are moved or rounded.
        self.outline = outline(backbone)
        self.adapted_outline = None if adapted is None else outline(adapted.backbone)
        self.preprocessing = backbone.preprocessing
        self.class_names = backbone.classes.names
        self.device = device.name
        self._device = device
        self._adapted = frozenset[Branch]() if adapted is None else adapted.branches
        self._networks: dict[WeightSet, Backbone] = {"base": backbone}
        if adapted is not None:
            self._networks["adapted"] = adapted.backbone
        self._planned_slowly = has_depthwise(backbone)
        self._inputs: dict[int, Tensor] = {}
        self._graphs: Graphs[_Along | _Through] = Graphs(self._recorded, most)
        self._statistics = torch.tensor([self.preprocessing.mean, self.preprocessing.std])
        self._parked = True
        with self._memory():
            pass

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Record each branch for so many pictures together."""
        with self._memory():
            for branch in branches:
                self._graphs.now(_Along(branch, pictures))

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Whether so many pictures together along a branch are recorded; if not, they are being recorded meanwhile."""
        return not self._parked and self._graphs.ask(_Along(branch, pictures))

    def make_parts_ready(self, resolution: int, weights: WeightSet) -> bool:
        """Whether all that `look` and `complete` run is recorded; if not, the next is being recorded meanwhile."""
        if self._parked:
            return False
        every = parts(resolution, self.outline.droppable)
        return all(self._graphs.ask(_Through(part, weights)) for part in every)

    def close(self) -> None:
        """End the thread that records, and give the GPU's memory back."""
        self._graphs.close()
        self._inputs.clear()
        self._networks.clear()
        self._device.give_back()

    def prepare(self, picture: NDArray[np.uint8], resolution: int, *, mirrored: bool = False) -> NDArray[np.uint8]:
        """What is looked at of a BGR picture (height, width, 3): bytes (resolution, resolution, 3)."""
        place = self._device.pinned(resolution * resolution * 3, torch.uint8).view(resolution, resolution, 3)
        return looked_at(picture, resolution, self.preprocessing, mirrored=mirrored, into=place.numpy())

    @torch.inference_mode()
    def run(self, inputs: Sequence[NDArray[np.uint8]], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Scores before softmax (pictures, classes), each picture along its own branch.

        Those of one branch run together, filled up to a number that is recorded. Where the number that would suit them
        is not recorded yet, they run in smaller groups, and it is recorded meanwhile. A branch of which nothing is
        recorded is recorded now: seconds, unless `warm_up` or `make_ready` has seen it.
        """
        scores = np.empty((len(inputs), len(self.class_names)), np.float32)
        together: defaultdict[Branch, list[int]] = defaultdict(list)
        for position, branch in enumerate(branches):
            together[branch].append(position)
        with self._memory():
            started: list[tuple[list[int], Tensor]] = []
            for branch, positions in together.items():
                for recording, group in self._groups(branch, positions):
                    started.append((group, self._started(recording, [inputs[position] for position in group])))
            self._device.wait()
        for group, gives in started:
            scores[group] = gives.numpy()
        return scores

    @torch.inference_mode()
    def look(self, prepared: NDArray[np.uint8], resolution: int, weights: WeightSet) -> FirstLook:
        """What was prepared of a picture after the first block, with this set of weights."""
        with self._memory():
            recording = self._graphs.now(_Through(NetworkPart(resolution, 0, 1), weights))
            recording.given[0].copy_(torch.from_numpy(prepared), non_blocking=True)
            recording.replay()
            hidden = recording.gives.clone()
            seen = hidden.float().cpu().numpy()
        return FirstLook(embedding(seen)[0], hidden, resolution, weights)

    @torch.inference_mode()
    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Scores before softmax (classes,) of a picture that was looked at, along these blocks; the first has run."""
        hidden: Tensor = seen.hidden
        with self._memory():
            for start, stop in parts_after_first(self.outline.droppable):
                recording = self._graphs.now(
                    _Through(NetworkPart(seen.resolution, start, stop, keep[start]), seen.weights)
                )
                recording.given.copy_(hidden)
                recording.replay()
                hidden = recording.gives
            scores: NDArray[np.float32] = hidden[0].float().cpu().numpy()
        return scores

    def _groups(self, branch: Branch, positions: Sequence[int]) -> Iterator[tuple[RecordedPass, list[int]]]:
        """The pictures at these positions, as the recordings that there are take them."""
        for begin in range(0, len(positions), self.sizes[-1]):
            chunk = positions[begin : begin + self.sizes[-1]]
            suits = next(size for size in self.sizes if size >= len(chunk))
            if self._graphs.ask(_Along(branch, suits)):
                recorded = [suits]
            else:
                recorded = [size for size in self.sizes if _Along(branch, size) in self._graphs] or [suits]
            first = 0
            for size in portions(len(chunk), recorded):
                yield self._graphs.now(_Along(branch, size)), list(chunk[first : first + size])
                first += size

    def _started(self, recording: RecordedPass, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Have the pictures run; their scores (pictures, classes), there once the device was waited for."""
        count = len(pictures)
        for place, picture in zip(recording.given[:count].unbind(), pictures, strict=True):
            place.copy_(torch.from_numpy(picture), non_blocking=True)
        recording.replay()
        gives = self._device.pinned(count * len(self.class_names), torch.float32).view(count, -1)
        gives.copy_(recording.gives[:count], non_blocking=True)
        return gives

    def _recorded(self, what: _Along | _Through) -> RecordedPass:
        with torch.inference_mode():
            if isinstance(what, _Along):
                given = self._input(what.branch.resolution)[: what.pictures]
                along = self._along(what.branch)
                return self._device.record(self._for_one(along) if what.pictures == 1 else along, given)
            forward, network = self._for_one(self._through(what)), self._networks[what.weights]
            if not what.part.start:
                return self._device.record(forward, self._input(what.part.resolution)[:1])
            hidden = network.stem(self._normalised(self._input(what.part.resolution)[:1]))
            for index in range(what.part.start):
                hidden = network.step(index, hidden, True)
            return self._device.record(forward, hidden.clone())

    def _along(self, branch: Branch) -> Forward:
        network = self._networks["adapted" if branch in self._adapted else "base"]

        def forward(given: Tensor) -> Tensor:
            scores: Tensor = network(self._normalised(given), branch.keep)
            return scores.float()

        return forward

    def _for_one(self, forward: Forward) -> Forward:
        """A forward pass of one picture: recorded within a tenth of a second, so that a start takes no longer."""
        return planless(forward) if self._planned_slowly else forward

    def _through(self, what: _Through) -> Forward:
        network, part = self._networks[what.weights], what.part

        def forward(given: Tensor) -> Tensor:
            hidden = given if part.start else network.stem(self._normalised(given))
            for index in range(part.start, part.stop):
                hidden = network.step(index, hidden, part.kept or index > part.start)
            return network.scores(hidden) if part.stop == len(network.blocks) else hidden

        return forward

    def _input(self, resolution: int) -> Tensor:
        """Where graphs of this resolution find their pictures: bytes (pictures, resolution, resolution, 3), BGR."""
        if resolution not in self._inputs:
            shape = (self.sizes[-1], resolution, resolution, 3)
            self._inputs[resolution] = torch.zeros(shape, dtype=torch.uint8, device=self._device.place)
        return self._inputs[resolution]

    def _normalised(self, given: Tensor) -> Tensor:
        """What `adainf.preprocessing.prepare` makes of the same bytes, with the channels last in memory."""
        shares = given.flip(3).float() / 255
        normalised: Tensor = (shares - self._mean) / self._deviation
        return normalised.to(self._device.dtype).permute(0, 3, 1, 2)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """Inside, the weights are on the device; where that has no memory for them, all of it is given back."""
        try:
            with self._device.frames():
                if self._parked:
                    self._place(self._device.place)
                    self._parked = False
                yield
        except torch.cuda.OutOfMemoryError as error:
            self._parked = True
            self._graphs.forget()
            self._inputs.clear()
            self._place("cpu")
            self._device.give_back()
            raise OutOfMemoryError(f"device {self.device}: out of memory ({one_line(error, 120)})") from None

    def _place(self, place: torch.device | str) -> None:
        for network in self._networks.values():
            network.to(place, self._device.dtype).to(memory_format=torch.channels_last)
        self._mean, self._deviation = self._statistics.to(place)
        self._device.settle()
