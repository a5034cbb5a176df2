"""The GPU engine: what runs together, what is recorded when, and what becomes of its memory.

A stand-in takes the GPU's place where there is none: it runs on the processor what a GPU would have recorded.
"""

import copy
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stand_in_gpu import Processor
from torch import Tensor

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options
from adainf.branch import REFERENCE, Branch
from adainf.engines.base import OutOfMemoryError
from adainf.engines.gpu.cuda import Cuda, Forward, RecordedPass
from adainf.engines.gpu.engine import GpuEngine
from adainf.engines.torch import TorchEngine
from adainf.portions import portions

_SECONDS = 30.0
_ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and a CUDA build of torch"),
]
_BRANCHES = [Branch.parse(text) for text in ("32:111111111", "32:100100100", "16:111111111", "16:101100001")]


@pytest.fixture
def processor() -> Processor:
    return Processor()


@pytest.fixture
def engine(processor: Processor) -> Iterator[GpuEngine]:
    engine = GpuEngine({REFERENCE: _network()}, processor)
    yield engine
    processor.may_record.set()
    engine.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[GpuEngine, TorchEngine]]:
    """An engine that keeps what it has recorded, and the reference."""
    engine = GpuEngine({REFERENCE: _network()}, Processor())
    yield engine, TorchEngine({REFERENCE: _network()}, "cpu")
    engine.close()


def _network() -> Backbone:
    return backbones.load("cifar/resnet20", Options(weights=RANDOM))


def _pictures(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


def _run(
    engine: GpuEngine | TorchEngine, pictures: list[NDArray[np.uint8]], branches: list[Branch]
) -> NDArray[np.float32]:
    prepared = [
        engine.prepare(one, branch.resolution, branch.network) for one, branch in zip(pictures, branches, strict=True)
    ]
    return engine.run(prepared, branches)


def _soon(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    waited = threading.Event()
    for _ in range(int(_SECONDS / 0.01)):
        if holds():
            return
        waited.wait(0.01)
    raise AssertionError("it did not come true")


@settings(deadline=None, max_examples=40)
@given(chosen=st.lists(st.sampled_from(_BRANCHES), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_each_picture_is_answered_as_if_it_were_alone(
    shared: tuple[GpuEngine, TorchEngine], chosen: list[Branch], seed: int
) -> None:
    engine, reference = shared
    pictures = _pictures(len(chosen), seed)
    expected = np.concatenate([_run(reference, [one], [branch]) for one, branch in zip(pictures, chosen, strict=True)])
    np.testing.assert_allclose(_run(engine, pictures, chosen), expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(chosen=st.lists(st.sampled_from(_BRANCHES), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_each_picture_has_the_features_that_it_has_alone(
    shared: tuple[GpuEngine, TorchEngine], chosen: list[Branch], seed: int
) -> None:
    engine, reference = shared
    found, expected = (
        runner.features(
            [
                runner.prepare(one, branch.resolution, branch.network)
                for one, branch in zip(_pictures(len(chosen), seed), chosen, strict=True)
            ],
            chosen,
        )
        for runner in (engine, reference)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_pictures_of_one_branch_run_together(engine: GpuEngine, processor: Processor) -> None:
    full, part, *_ = _BRANCHES
    engine.warm_up([full, part], 4)
    engine.warm_up([full], 2)
    processor.runs.clear()
    _run(engine, _pictures(5), [full, part, full, part, part])
    assert sorted(processor.runs) == [2, 4]  # three of one branch are filled up to four


@given(count=st.integers(1, 200), some=st.sets(st.sampled_from((1, 2, 4, 8, 16, 32)), min_size=1))
def test_portions_hold_every_picture_and_none_is_needless(count: int, some: set[int]) -> None:
    sizes = sorted(some)
    found = list(portions(count, sizes))
    assert set(found) <= some
    assert sum(found) >= count
    assert sum(found[:-1]) < count
    assert found[-1] == min((size for size in sizes if size >= count - sum(found[:-1])), default=sizes[-1])


def test_number_of_pictures_that_is_not_recorded_runs_in_smaller_groups_meanwhile(
    engine: GpuEngine, processor: Processor
) -> None:
    full = _BRANCHES[0]
    engine.warm_up([full], 1)
    engine.warm_up([full], 2)
    processor.may_record.clear()
    processor.runs.clear()
    pictures = _pictures(5)
    before = _run(engine, pictures, [full] * 5)  # would hang if frames waited for the recording
    assert processor.runs == [2, 2, 1]
    processor.may_record.set()
    _soon(lambda: engine.make_ready(full, 8))
    processor.runs.clear()
    np.testing.assert_allclose(_run(engine, pictures, [full] * 5), before, rtol=1e-4, atol=1e-4)
    assert processor.runs == [8]


def test_make_ready_never_waits(engine: GpuEngine, processor: Processor) -> None:
    processor.may_record.clear()
    assert not engine.make_ready(_BRANCHES[0])
    assert not engine.make_ready(_BRANCHES[0])
    processor.may_record.set()
    _soon(lambda: engine.make_ready(_BRANCHES[0]))
    assert len(processor.recorded) == 1


def test_branch_used_least_recently_is_let_go_of(processor: Processor) -> None:
    engine = GpuEngine({REFERENCE: _network()}, processor, most=2)
    first, second, third, _ = _BRANCHES
    engine.warm_up([first, second])
    _run(engine, _pictures(1), [first])
    engine.warm_up([third])
    assert engine.make_ready(first)
    assert engine.make_ready(third)
    processor.may_record.clear()
    assert not engine.make_ready(second)
    processor.may_record.set()
    engine.close()


def test_memory_that_another_program_takes_is_given_back_and_taken_again(
    engine: GpuEngine, processor: Processor
) -> None:
    full = _BRANCHES[0]
    before = _run(engine, _pictures(3), [full] * 3)
    processor.memory = False
    with pytest.raises(OutOfMemoryError, match=r"^device stand-in: out of memory \(CUDA out of memory"):
        _run(engine, _pictures(3), [full] * 3)
    assert processor.given_back == 1
    assert not engine.make_ready(full)  # nothing is recorded while the model is away
    processor.memory, processor.recorded[:] = True, []
    np.testing.assert_array_equal(_run(engine, _pictures(3), [full] * 3), before)
    assert processor.recorded == [(4, 32, 32, 3)]


def test_too_little_memory_for_one_more_recording_stops_no_frame(engine: GpuEngine, processor: Processor) -> None:
    full = _BRANCHES[0]
    engine.warm_up([full], 1)
    record, tries = processor.record, []

    def refuse(forward: Forward, given: Tensor) -> RecordedPass:
        tries.append(len(given))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    processor.record = refuse  # type: ignore[method-assign]
    for _ in range(20):
        processor.runs.clear()
        _run(engine, _pictures(2), [full] * 2)
        assert processor.runs == [1, 1]
    _soon(lambda: tries == [2])  # and is not tried again and again
    processor.record = record  # type: ignore[method-assign]


def test_look_and_complete_give_what_the_branch_gives() -> None:
    other = _network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    engine = GpuEngine({REFERENCE: _network(), "other": other}, Processor())
    reference = TorchEngine({REFERENCE: _network(), "other": copy.deepcopy(other)}, "cpu")
    (picture,) = _pictures(1)
    branches = [*_BRANCHES, *(Branch(branch.resolution, branch.keep, "other") for branch in _BRANCHES)]
    for branch in branches:
        into = branch.resolution, branch.network
        seen = engine.look(engine.prepare(picture, *into), *into)
        like = reference.look(reference.prepare(picture, *into), *into)
        np.testing.assert_allclose(seen.embedding, like.embedding, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            engine.complete(seen, branch.keep), reference.complete(like, branch.keep), rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(
        _run(engine, [picture] * 8, branches), _run(reference, [picture] * 8, branches), rtol=1e-4, atol=1e-4
    )
    engine.close()


class TestOnGpu:
    pytestmark = _ON_GPU

    @pytest.mark.parametrize("name", ["cifar/resnet20", "timm/vit_tiny_patch16_224", "timm/tf_efficientnet_lite0"])
    def test_agrees_with_the_cpu_in_groups_of_every_size(self, name: str) -> None:
        network = backbones.load(name, Options(weights=RANDOM))
        reference = TorchEngine({REFERENCE: backbones.load(name, Options(weights=RANDOM))}, "cpu")
        engine = GpuEngine({REFERENCE: network}, Cuda(torch.device("cuda")))
        full = network.full
        less = Branch(full.resolution, tuple(not drop for drop in network.droppable))
        for count in (1, 3, 20):
            chosen = [full if number % 3 else less for number in range(count)]
            pictures = _pictures(count)
            expected = _run(reference, pictures, chosen)
            scores = _run(engine, pictures, chosen)
            np.testing.assert_allclose(scores, expected, rtol=2e-2, atol=2e-2 * float(np.abs(expected).max()))
        engine.close()

    def test_frames_are_answered_right_while_others_are_recorded(self) -> None:
        engine = GpuEngine({REFERENCE: _network()}, Cuda(torch.device("cuda")))
        reference = TorchEngine({REFERENCE: _network()}, "cpu")
        engine.warm_up(_BRANCHES)
        pictures = _pictures(4)
        expected = _run(reference, pictures, _BRANCHES)
        left = {(branch, size) for branch in _BRANCHES for size in engine.sizes}
        while left := {wanted for wanted in left if not engine.make_ready(*wanted)}:
            scores = _run(engine, pictures, _BRANCHES)
            np.testing.assert_allclose(scores, expected, rtol=2e-2, atol=2e-2 * float(np.abs(expected).max()))
        engine.close()

    def test_memory_is_given_back_and_taken_again(self) -> None:
        engine = GpuEngine({REFERENCE: _network()}, Cuda(torch.device("cuda")))
        full = _BRANCHES[0]
        before = _run(engine, _pictures(5), [full] * 5)
        torch.cuda.set_per_process_memory_fraction(1e-6)
        try:
            with pytest.raises(OutOfMemoryError):
                engine.warm_up(_BRANCHES, 32)
            held = torch.cuda.memory_allocated()
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert held < 1 << 20
        np.testing.assert_allclose(_run(engine, _pictures(5), [full] * 5), before, rtol=1e-2, atol=1e-2)
        engine.close()
