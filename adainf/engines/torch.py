"""The reference engine: the networks' own modules under PyTorch, one after the other."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adainf.backbones import Backbone
from adainf.backbones.weights import outline
from adainf.branch import REFERENCE, Branch
from adainf.engines import devices
from adainf.engines.base import SIZES, FirstLook
from adainf.engines.processor import processor_name, usable_processors
from adainf.preprocessing import prepare
from adainf.schedulers.embedding import embedding

__all__ = ["TorchEngine"]


class TorchEngine:
    """Runs a family of networks in float32 on the CPU, or in half precision on a GPU; frames use `GpuEngine` there."""

    name = "torch"
    sizes: tuple[int, ...] = SIZES

    def __init__(self, networks: Mapping[str, Backbone], device: str | None = None, threads: int | None = None) -> None:
        """Place the weights on a device.

        networks: by what their branches name them. device: `cpu`, `cuda`, `cuda:1`…; None picks a GPU if there is one.
        threads: None uses every processor; the number applies to the whole process.
        Raises InvalidInputError on an unknown device name, UnavailableError if the device is missing.
        """
        self._device = devices.place(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.on_gpu = self._device.type == "cuda"
        self.threads = threads or usable_processors()
        torch.set_num_threads(self.threads)
        self.device = torch.cuda.get_device_name(self._device) if self.on_gpu else processor_name()
        # Fingerprint the weights before they are moved or rounded.
        self.outlines = {key: outline(network) for key, network in networks.items()}
        self._dtype = torch.float16 if self.on_gpu else torch.float32
        self.networks = {key: self._placed(network) for key, network in networks.items()}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the scores."""
        return self.outlines[REFERENCE].class_names

    def _placed(self, network: Backbone) -> Backbone:
        return network.to(self._device, self._dtype).to(memory_format=torch.channels_last)

    def warm_up(self, branches: Iterable[Branch], pictures: int = 1) -> None:
        """Run each branch once, since the first run selects kernels and allocates memory."""
        for branch in branches:
            shape = (1, 3, branch.resolution, branch.resolution)
            self.run([torch.zeros(shape, dtype=self._dtype, device=self._device)] * pictures, [branch] * pictures)

    def make_ready(self, branch: Branch, pictures: int = 1) -> bool:
        """Run the branch once, which makes it ready; always return True."""
        self.warm_up([branch], pictures)
        return True

    def make_parts_ready(self, resolution: int, network: str = REFERENCE) -> bool:
        """Return True: parts need no preparation."""
        del resolution, network
        return True

    def close(self) -> None:
        """Do nothing: the engine has no threads of its own."""

    @torch.inference_mode()
    def prepare(
        self,
        picture: NDArray[np.uint8],
        resolution: int,
        network: str = REFERENCE,
        *,
        mirrored: bool = False,
        squeezed: bool = False,
    ) -> Tensor:
        """Convert a BGR picture (height, width, 3) to an input (1, 3, resolution, resolution) on the device."""
        preprocessing = self.outlines[network].preprocessing
        prepared = torch.from_numpy(prepare(picture, resolution, preprocessing, mirrored=mirrored, squeezed=squeezed))[
            None
        ]
        return prepared.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, inputs: Sequence[Tensor], branches: Sequence[Branch]) -> NDArray[np.float32]:
        """Return scores before softmax (pictures, classes), each picture along its own branch."""
        scores = torch.empty(len(inputs), len(self.class_names))
        for network, positions, features in self._features(inputs, branches):
            scores[positions] = self.networks[network].classified(features).float().cpu()
        return scores.numpy()

    @torch.inference_mode()
    def features(self, inputs: Sequence[Tensor], branches: Sequence[Branch]) -> list[NDArray[np.float32]]:
        """Return each picture's pooled features (width,) along its own branch."""
        found: dict[int, NDArray[np.float32]] = {}
        for _, positions, features in self._features(inputs, branches):
            found.update(zip(positions, features.float().cpu().numpy(), strict=True))
        return [found[position] for position in range(len(inputs))]

    def _features(
        self, inputs: Sequence[Tensor], branches: Sequence[Branch]
    ) -> Iterator[tuple[str, list[int], Tensor]]:
        """Yield each batch's network, its pictures' positions, and their pooled features (pictures, width)."""
        batches: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for position, branch in enumerate(branches):
            batches[branch.network, branch.resolution].append(position)
        for (network, _), positions in batches.items():
            images = inputs[positions[0]] if len(positions) == 1 else torch.cat([inputs[p] for p in positions])
            keeps = [branches[position].keep for position in positions]
            yield network, positions, self.networks[network].features_each(images, keeps)

    @torch.inference_mode()
    def look(self, prepared: Tensor, resolution: int, network: str = REFERENCE) -> FirstLook:
        """Run a prepared picture (1, 3, resolution, resolution) through the first block of a network."""
        backbone = self.networks[network]
        hidden = backbone.step(0, backbone.stem(prepared), True)
        return FirstLook(embedding(hidden.float().cpu().numpy())[0], hidden, resolution, network)

    @torch.inference_mode()
    def complete(self, seen: FirstLook, keep: Sequence[bool]) -> NDArray[np.float32]:
        """Return scores before softmax (classes,) for a picture from `look`; the first block has run already."""
        backbone, hidden = self.networks[seen.network], seen.hidden
        for index, kept in enumerate(keep):
            if index:
                hidden = backbone.step(index, hidden, kept)
        scores: NDArray[np.float32] = backbone.scores(hidden)[0].float().cpu().numpy()
        return scores
