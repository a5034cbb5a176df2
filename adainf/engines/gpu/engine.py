"""The GPU engine: pictures of the same branch run as one batch in a recorded graph."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.weights import outline
from adainf.base.errors import one_line
from adainf.branch import REFERENCE, Branch
from adainf.engines.base import SIZES, FirstLook, NetworkPart, OutOfMemoryError, parts, parts_after_first
from adainf.engines.gpu.cuda import Device, Forward, RecordedPass
from adainf.engines.gpu.graphs import Graphs
from adainf.engines.gpu.planless import has_depthwise, planless
from adainf.portions import portions
from adainf.preprocessing import looked_at
from adainf.schedulers.embedding import embedding

__all__ = ["GpuEngine"]

# Twelve branches in six batch sizes, plus the parts for a content-aware scheduler.
_MOST_GRAPHS = 128


@dataclass(frozen=True, slots=True)
class _Along:
    """A batch of pictures along a branch."""

    branch: Branch
    pictures: int


@dataclass(frozen=True, slots=True)
class _Through:
    """One picture through a part of a network."""

    network: str
    part: NetworkPart


class GpuEngine:
    """Runs a family of networks in half precision on a GPU.

    As for every engine, the CPU crops and shrinks pictures, here into pinned memory that the GPU reads directly. They
    are transferred as bytes, and the graph normalises them.
    """

    name = "torch"
    on_gpu = True
    threads = 1
    sizes: tuple[int, ...] = SIZES

    def __init__(self, networks: Mapping[str, Backbone], device: Device, most: int = _MOST_GRAPHS) -> None:
        """Move the weights to the device.

        networks: by what their branches name them. most: how many recordings are kept.
        Raises OutOfMemoryError if the device has too little memory.
        """
        # Fingerprint the weights before they are moved or rounded.
        self.outlines = {key: outline(network) for key, network in networks.items()}
        self.device = device.name
        self._device = device
        self._networks = dict(networks)
        self._planned_slowly = {key: has_depthwise(network) for key, network in networks.items()}
        self._inputs: dict[int, Tensor] = {}
        self._graphs: Graphs[_Along | _Through] = Graphs(self._recorded, most)
        self._statistics = {
            key: torch.tensor([outline.preprocessing.mean, outline.preprocessing.std])
            for key, outline in self.outlines.items()
        }
        self._parked = True
        with self._memory():
            pass

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the scores."""
        return self.outlines[REFERENCE].class_names

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Record each branch with a batch size of `pictures`, and wait for it."""
        with self._memory():
            for branch in branches:
                self._graphs.now(_Along(branch, pictures))

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Return whether a branch is recorded with a batch size of `pictures`; if not, start recording it."""
        return not self._parked and self._graphs.ask(_Along(branch, pictures))

    def make_parts_ready(self, resolution: int, network: str = REFERENCE) -> bool:
        """Return whether every part for `look` and `complete` is recorded; if not, start recording the next one."""
        if self._parked:
            return False
        every = parts(resolution, self.outlines[network].droppable)
        return all(self._graphs.ask(_Through(network, part)) for part in every)

    def close(self) -> None:
        """Stop the recording thread and release the GPU's memory."""
        self._graphs.close()
        self._inputs.clear()
        self._networks.clear()
        self._device.give_back()

    def prepare(
        self,
        picture: NDArray[np.uint8],
        resolution: int,
        network: str = REFERENCE,
        *,
        mirrored: bool = False,
        squeezed: bool = False,
    ) -> NDArray[np.uint8]:
        """Crop and shrink a BGR picture (height, width, 3) to bytes (resolution, resolution, 3) in pinned memory."""
        place = self._device.pinned(resolution * resolution * 3, torch.uint8).view(resolution, resolution, 3)
        preprocessing = self.outlines[network].preprocessing
        return looked_at(picture, resolution, preprocessing, mirrored=mirrored, squeezed=squeezed, into=place.numpy())

    @torch.inference_mode()
    def run(self, inputs: Sequence[NDArray[np.uint8]], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Return scores before softmax (pictures, classes), each picture along its own branch.

        The pictures of a branch run as one batch, padded to a recorded size. If the best size is not recorded yet, it
        is recorded in the background and the pictures run in smaller batches. A branch without any recording is
        recorded first, which takes seconds, unless `warm_up` or `make_ready` has done so.
        """
        classes = len(self.class_names)
        scores = np.empty((len(inputs), classes), np.float32)
        for positions, outputs in self._outputs(inputs, branches):
            scores[positions] = outputs[:, :classes]
        return scores

    @torch.inference_mode()
    def features(self, inputs: Sequence[NDArray[np.uint8]], branches: Sequence[Branch]) -> list[NDArray[np.float32]]:
        """Return each picture's pooled features (width,) along its own branch; see `run`."""
        found: dict[int, NDArray[np.float32]] = {}
        for positions, outputs in self._outputs(inputs, branches):
            found.update(zip(positions, outputs[:, len(self.class_names) :], strict=True))
        return [found[position] for position in range(len(inputs))]

    def _outputs(
        self, inputs: Sequence[NDArray[np.uint8]], branches: Sequence[Branch]
    ) -> list[tuple[list[int], NDArray[np.float32]]]:
        """Return each batch's positions among the pictures, and its scores and features (pictures, classes + width)."""
        positions_of: defaultdict[Branch, list[int]] = defaultdict(list)
        for position, branch in enumerate(branches):
            positions_of[branch].append(position)
        with self._memory():
            started: list[tuple[list[int], Tensor]] = []
            for branch, positions in positions_of.items():
                for recording, group in self._groups(branch, positions):
                    started.append((group, self._started(recording, [inputs[position] for position in group])))
            self._device.wait()
        return [(group, outputs.numpy()) for group, outputs in started]

    @torch.inference_mode()
    def look(self, prepared: NDArray[np.uint8], resolution: int, network: str = REFERENCE) -> FirstLook:
        """Run a prepared picture (resolution, resolution, 3) through the first block of a network."""
        with self._memory():
            recording = self._graphs.now(_Through(network, NetworkPart(resolution, 0, 1)))
            recording.given[0].copy_(torch.from_numpy(prepared), non_blocking=True)
            recording.replay()
            hidden = recording.gives.clone()
            activations = hidden.float().cpu().numpy()
        return FirstLook(embedding(activations)[0], hidden, resolution, network)

    @torch.inference_mode()
    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Return scores before softmax (classes,) for a picture from `look`; the first block has run already."""
        hidden: Tensor = seen.hidden
        with self._memory():
            for start, stop in parts_after_first(self.outlines[seen.network].droppable):
                part = NetworkPart(seen.resolution, start, stop, keep[start])
                recording = self._graphs.now(_Through(seen.network, part))
                recording.given.copy_(hidden)
                recording.replay()
                hidden = recording.gives
            scores: NDArray[np.float32] = hidden[0].float().cpu().numpy()
        return scores

    def _groups(self, branch: Branch, positions: Sequence[int]) -> Iterator[tuple[RecordedPass, list[int]]]:
        """Split the pictures at these positions into batches for the recordings that are available."""
        for begin in range(0, len(positions), self.sizes[-1]):
            chunk = positions[begin : begin + self.sizes[-1]]
            best = next(size for size in self.sizes if size >= len(chunk))
            if self._graphs.ask(_Along(branch, best)):
                recorded = [best]
            else:
                recorded = [size for size in self.sizes if _Along(branch, size) in self._graphs] or [best]
            first = 0
            for size in portions(len(chunk), recorded):
                yield self._graphs.now(_Along(branch, size)), list(chunk[first : first + size])
                first += size

    def _started(self, recording: RecordedPass, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Queue the pictures; return their scores and features (pictures, both), valid after `Device.wait`."""
        count = len(pictures)
        for place, picture in zip(recording.given[:count].unbind(), pictures, strict=True):
            place.copy_(torch.from_numpy(picture), non_blocking=True)
        recording.replay()
        outputs = self._device.pinned(recording.gives[:count].numel(), torch.float32).view(count, -1)
        outputs.copy_(recording.gives[:count], non_blocking=True)
        return outputs

    def _recorded(self, key: _Along | _Through) -> RecordedPass:
        with torch.inference_mode():
            if isinstance(key, _Along):
                given = self._input(key.branch.resolution)[: key.pictures]
                along = self._along(key.branch)
                if key.pictures == 1:
                    along = self._for_one(key.branch.network, along)
                return self._device.record(along, given)
            forward, network = self._for_one(key.network, self._through(key)), self._networks[key.network]
            given = self._input(key.part.resolution)[:1]
            if not key.part.start:
                return self._device.record(forward, given)
            hidden = network.stem(self._normalised(given, key.network))
            for index in range(key.part.start):
                hidden = network.step(index, hidden, True)
            return self._device.record(forward, hidden.clone())

    def _along(self, branch: Branch) -> Forward:
        network = self._networks[branch.network]

        def forward(given: Tensor) -> Tensor:
            images = self._normalised(given, branch.network)
            features = network.features_each(images, [branch.keep] * len(images))
            # In one tensor, since a recording has one output.
            return torch.cat([network.classified(features), features], dim=1).float()

        return forward

    def _for_one(self, network: str, forward: Forward) -> Forward:
        """Return a forward pass for one picture that records within a tenth of a second, to keep the start short."""
        return planless(forward) if self._planned_slowly[network] else forward

    def _through(self, key: _Through) -> Forward:
        network, part = self._networks[key.network], key.part

        def forward(given: Tensor) -> Tensor:
            hidden = given if part.start else network.stem(self._normalised(given, key.network))
            for index in range(part.start, part.stop):
                hidden = network.step(index, hidden, part.kept or index > part.start)
            return network.scores(hidden) if part.stop == len(network.blocks) else hidden

        return forward

    def _input(self, resolution: int) -> Tensor:
        """Return the input buffer of all graphs of a resolution: BGR bytes (pictures, resolution, resolution, 3)."""
        if resolution not in self._inputs:
            shape = (self.sizes[-1], resolution, resolution, 3)
            self._inputs[resolution] = torch.zeros(shape, dtype=torch.uint8, device=self._device.place)
        return self._inputs[resolution]

    def _normalised(self, given: Tensor, network: str) -> Tensor:
        """Normalise like `adainf.preprocessing.prepare`, with the channels last in memory."""
        rgb = given.flip(3).float() / 255
        mean, deviation = self._placed_statistics[network]
        normalised: Tensor = (rgb - mean) / deviation
        return normalised.to(self._device.dtype).permute(0, 3, 1, 2)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """Keep the weights on the device inside the context; on lack of memory, move them off and release it all."""
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
        self._placed_statistics = {key: statistics.to(place) for key, statistics in self._statistics.items()}
        self._device.settle()
