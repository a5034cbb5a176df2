"""The torch engine: what it executes, and its half precision on a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.torch import TorchEngine

_ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of torch"),
]


@contextmanager
def _counted(network: Backbone) -> Iterator[list[int]]:
    """How many times each block ran."""
    runs = [0] * len(network.blocks)

    def count(index: int) -> None:
        runs[index] += 1

    hooks = [
        block.register_forward_hook(lambda *_, index=index: count(index)) for index, block in enumerate(network.blocks)
    ]
    try:
        yield runs
    finally:
        for hook in hooks:
            hook.remove()


def test_skipped_block_is_not_executed(backbone: Callable[[str], Backbone], picture: NDArray[np.uint8]) -> None:
    network = backbone("cifar/resnet20")
    engine = TorchEngine({REFERENCE: network}, "cpu")
    with _counted(network) as runs:
        engine.run([engine.prepare(picture, 32)], [Branch.parse("32:110100001")])
    assert runs == [1, 1, 0, 1, 0, 0, 0, 0, 1]


def test_block_runs_at_most_once_a_resolution(backbone: Callable[[str], Backbone], picture: NDArray[np.uint8]) -> None:
    network = backbone("cifar/resnet20")
    engine = TorchEngine({REFERENCE: network}, "cpu")
    branches = [Branch.parse(text) for text in ("32:111111110", "32:110111110", "16:100000000", "32:101111110")]
    with _counted(network) as runs:
        engine.run([engine.prepare(picture, branch.resolution) for branch in branches], branches)
    assert runs == [2, 1, 1, 1, 1, 1, 1, 1, 0]


def test_number_of_threads_is_the_processes() -> None:
    before = torch.get_num_threads()
    try:
        engine = TorchEngine({REFERENCE: backbones.load("cifar/resnet20", Options(weights=RANDOM))}, "cpu", threads=1)
        assert (engine.threads, torch.get_num_threads()) == (1, 1)
    finally:
        torch.set_num_threads(before)


class TestOnGpu:
    pytestmark = _ON_GPU

    @pytest.mark.parametrize("name", ["cifar/resnet20", "timm/vit_tiny_patch16_224"])
    def test_half_precision_agrees_with_the_cpu(self, name: str) -> None:
        picture = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
        on_cpu, on_gpu = (
            TorchEngine({REFERENCE: backbones.load(name, Options(weights=RANDOM))}, device)
            for device in ("cpu", "cuda")
        )
        side = on_cpu.outlines[REFERENCE].preprocessing.size
        full = on_cpu.networks[REFERENCE].full
        prepared = on_cpu.prepare(picture, side)
        expected = on_cpu.run([prepared], [full])
        scores = on_gpu.run([prepared.to("cuda", torch.float16)], [full])
        np.testing.assert_allclose(scores, expected, rtol=2e-2, atol=2e-2 * float(np.abs(expected).max()))
