"""Engines with two networks: each picture goes through its own, normalised for it, as if that were alone."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stand_in_gpu import Processor

from adainf import backbones
from adainf.backbones import RANDOM, Backbone, Options
from adainf.branch import REFERENCE, Branch
from adainf.engines import Engine, exports
from adainf.engines.exports import Loaded
from adainf.engines.gpu.engine import GpuEngine
from adainf.engines.onnx import OnnxEngine
from adainf.engines.torch import TorchEngine
from adainf.preprocessing import prepare
from adainf.schedulers.embedding import embedding

_SECONDS = 60.0
_TOLERANCE = 1e-4
_OTHER = "resnet20"
_PATHS = {
    REFERENCE: ("32:111111111111111", "16:101010101010101"),
    _OTHER: ("32:111111111", "16:111111111", "16:101100001"),
}
_BRANCHES = [Branch.parse(f"{name}/{path}" if name else path) for name, paths in _PATHS.items() for path in paths]


def _networks() -> dict[str, Backbone]:
    other = Options(RANDOM, mean=(0.2, 0.3, 0.4), std=(0.5, 0.4, 0.3), zoom=0.5)
    return {
        REFERENCE: backbones.load("cifar/resnet32", Options(RANDOM)),
        _OTHER: backbones.load("cifar/resnet20", other),
    }


def _pictures(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


def _run(engine: Engine, pictures: list[NDArray[np.uint8]], branches: list[Branch]) -> NDArray[np.float32]:
    pairs = zip(pictures, branches, strict=True)
    return engine.run([engine.prepare(one, branch.resolution, branch.network) for one, branch in pairs], branches)


def _engine(name: str, networks: dict[str, Backbone], cache: Path) -> Engine:
    if name == "torch":
        return TorchEngine(networks, "cpu", threads=1)
    if name == "gpu":
        return GpuEngine(networks, Processor())
    return OnnxEngine({key: Loaded(network) for key, network in networks.items()}, threads=1, cache=cache)


@pytest.fixture(scope="module", params=["torch", "onnx", "gpu"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with both networks."""
    engine = _engine(request.param, _networks(), tmp_path_factory.mktemp("family"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone() -> dict[str, TorchEngine]:
    """The reference engine with each network by itself."""
    return {key: TorchEngine({REFERENCE: network}, "cpu", threads=1) for key, network in _networks().items()}


def _expected(
    alone: dict[str, TorchEngine], pictures: list[NDArray[np.uint8]], branches: list[Branch]
) -> NDArray[np.float32]:
    pairs = zip(pictures, branches, strict=True)
    return np.concatenate([_run(alone[b.network], [one], [Branch(b.resolution, b.keep)]) for one, b in pairs])


@settings(deadline=None, max_examples=8)
@given(chosen=st.lists(st.sampled_from(_BRANCHES), min_size=1, max_size=8), seed=st.integers(0, 9))
def test_pictures_of_two_networks_run_together_as_each_alone(
    family: Engine, alone: dict[str, TorchEngine], chosen: list[Branch], seed: int
) -> None:
    pictures = _pictures(len(chosen), seed)
    scores = _run(family, pictures, chosen)
    np.testing.assert_allclose(scores, _expected(alone, pictures, chosen), rtol=_TOLERANCE, atol=_TOLERANCE)


def test_networks_of_one_family_differ_in_their_answers(family: Engine) -> None:
    """Without this the other tests might compare a network with itself."""
    full, other = _BRANCHES[0], _BRANCHES[2]
    first, second = _run(family, _pictures(1) * 2, [full, other])
    assert np.abs(first - second).max() > 0.01


def test_each_network_is_shown_the_picture_as_it_was_trained_on_it(family: Engine) -> None:
    assert set(family.outlines) == {REFERENCE, _OTHER}
    reference, other = (family.outlines[key].preprocessing for key in (REFERENCE, _OTHER))
    assert (other.mean, other.std, other.zoom) == ((0.2, 0.3, 0.4), (0.5, 0.4, 0.3), 0.5)
    assert (reference.mean, reference.zoom) != (other.mean, other.zoom)
    if not isinstance(family, GpuEngine):  # which normalises on the device
        (picture,) = _pictures(1)
        for key, preprocessing in ((REFERENCE, reference), (_OTHER, other)):
            given = np.asarray(family.prepare(picture, 16, key))
            np.testing.assert_allclose(given[0], prepare(picture, 16, preprocessing), rtol=1e-6)


def test_a_picture_seen_by_the_other_network_is_completed_by_it(family: Engine, alone: dict[str, TorchEngine]) -> None:
    (picture,), network = _pictures(1), _networks()[_OTHER]
    deadline = time.monotonic() + _SECONDS
    while not family.make_parts_ready(16, _OTHER):
        assert time.monotonic() < deadline
    seen = family.look(family.prepare(picture, 16, _OTHER), 16, _OTHER)
    stem = network.stem(alone[_OTHER].prepare(picture, 16))
    first = embedding(network.step(0, stem, True).detach().numpy())[0]
    np.testing.assert_allclose(seen.embedding, first, rtol=_TOLERANCE, atol=_TOLERANCE)
    for path in _PATHS[_OTHER][1:]:
        branch = Branch.parse(f"{_OTHER}/{path}")
        (expected,) = _expected(alone, [picture], [branch])
        np.testing.assert_allclose(family.complete(seen, branch.keep), expected, rtol=_TOLERANCE, atol=_TOLERANCE)


def test_on_a_gpu_branches_of_two_networks_are_recorded_apart() -> None:
    """Both networks have a branch of this path: one that is ready says nothing of the other."""
    processor = Processor()
    twins = {REFERENCE: _networks()[_OTHER], "twin": _networks()[_OTHER]}
    engine = GpuEngine(twins, processor)
    path = _PATHS[_OTHER][1]
    engine.warm_up([Branch.parse(path)])
    processor.may_record.clear()
    assert engine.make_ready(Branch.parse(path))
    assert not engine.make_ready(Branch.parse(f"twin/{path}"))
    processor.may_record.set()
    engine.close()


def test_a_network_s_exports_serve_it_under_whatever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile may call a network its reference, and another one may not; it is exported once."""
    networks = _networks()
    path = _PATHS[_OTHER][2]
    OnnxEngine({REFERENCE: Loaded(networks[_OTHER])}, cache=tmp_path).warm_up([Branch.parse(path)])
    monkeypatch.setattr(exports, "export", lambda *_: pytest.fail("exported again"))
    both = OnnxEngine({key: Loaded(network) for key, network in networks.items()}, cache=tmp_path)
    branch = Branch.parse(f"{_OTHER}/{path}")
    assert both.at_hand(branch)
    assert not both.at_hand(Branch.parse(_PATHS[REFERENCE][0]))
    assert not both.parts_at_hand(16, _OTHER)
    both.warm_up([branch])
