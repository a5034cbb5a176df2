"""The engines agree with each other and with themselves, whatever the branch and however pictures are batched."""

import copy
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adainf.backbones import Backbone
from adainf.branch import REFERENCE, Branch
from adainf.engines import Engine
from adainf.engines.exports import Loaded
from adainf.engines.onnx import OnnxEngine
from adainf.engines.torch import TorchEngine
from adainf.schedulers.embedding import embedding

_TOLERANCE = 1e-4
_FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _branches(backbone: Backbone, resolutions: tuple[int, ...]) -> st.SearchStrategy[Branch]:
    blocks = [st.booleans() if may_skip else st.just(True) for may_skip in backbone.droppable]
    return st.builds(Branch, st.sampled_from(resolutions), st.tuples(*blocks))


def _score(engine: Engine, picture: NDArray[np.uint8], branches: list[Branch]) -> NDArray[np.float32]:
    return engine.run([engine.prepare(picture, branch.resolution, branch.network) for branch in branches], branches)


def _torch(network: Backbone) -> TorchEngine:
    return TorchEngine({REFERENCE: network})


@pytest.mark.parametrize(
    ("name", "resolutions"),
    [
        ("cifar/resnet20", (32, 16)),
        ("cifar/resnet18", (32, 16)),
        ("timm/resnet10t", (176, 64)),
        ("timm/tf_efficientnet_lite0", (224, 64)),
        ("timm/vit_tiny_patch16_224", (224, 64)),
        ("timm/deit_tiny_distilled_patch16_224", (224, 64)),
        ("openclip/ViT-B-32", (224, 96)),
        ("openclip/RN50", (224, 64)),
    ],
)
def test_engines_agree_at_the_native_and_a_lower_resolution(
    name: str,
    resolutions: tuple[int, ...],
    backbone: Callable[[str], Backbone],
    picture: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    network = backbone(name)
    assert network.native_resolution == resolutions[0]
    skipping = tuple(index % 2 == 0 or not may for index, may in enumerate(network.droppable))
    branches = [network.full, Branch(resolutions[1], skipping)]
    reference = _score(_torch(network), picture, branches)
    scores = _score(OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path), picture, branches)
    assert scores.shape == (2, len(network.classes.names))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, reference, rtol=0, atol=_TOLERANCE)


@pytest.mark.parametrize(
    "name",
    [
        "timm/mobilenetv3_small_100",
        "timm/mobilenetv4_conv_small",
        "timm/mobilenetv4_hybrid_medium",
        "timm/lcnet_050",
        "timm/ghostnetv2_100",
        "timm/efficientvit_b0",
        "timm/fastvit_sa12",
    ],
)
def test_engines_agree_on_small_networks(name: str, picture: NDArray[np.uint8], tmp_path: Path) -> None:
    network = networks.network(name)
    skipping = Branch(64, tuple(index % 2 == 0 or not may for index, may in enumerate(network.droppable)))
    (expected,) = _score(TorchEngine({REFERENCE: network}), picture, [skipping])
    (scores,) = _score(OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path), picture, [skipping])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=_TOLERANCE * expected.std())


def test_small_network_looked_at_first_and_completed_is_as_run_at_once(
    picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = networks.network("timm/mobilenetv3_small_100")
    skipping = Branch(64, tuple(index % 2 == 0 or not may for index, may in enumerate(network.droppable)))
    (expected,) = _score(TorchEngine({REFERENCE: network}), picture, [skipping])
    engine = OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path)
    seen = engine.look(engine.prepare(picture, 64), 64)
    assert seen.embedding.shape == (16,)
    found = engine.complete(seen, skipping.keep)
    np.testing.assert_allclose(found, expected, rtol=0, atol=_TOLERANCE * expected.std())


def _engine(name: str, network: Backbone, cache: Path, **others: Backbone) -> Engine:
    """others: further networks, by name."""
    networks = {REFERENCE: network, **others}
    if name == "torch":
        return TorchEngine(networks)
    return OnnxEngine({key: Loaded(of) for key, of in networks.items()}, cache=cache)


@pytest.mark.parametrize("name", ["onnx", "torch"])
@_FEW
@given(data=st.data())
def test_each_picture_of_a_batch_goes_its_own_way(
    name: str, data: st.DataObject, backbone: Callable[[str], Backbone], tmp_path: Path
) -> None:
    network = backbone("cifar/resnet20")
    branches = data.draw(st.lists(_branches(network, (32, 16)), min_size=1, max_size=4))
    engine = _engine(name, network, tmp_path)
    pictures = np.random.default_rng(len(branches)).integers(0, 256, (len(branches), 40, 50, 3), np.uint8)
    inputs = [engine.prepare(each, branch.resolution) for each, branch in zip(pictures, branches, strict=True)]
    together = engine.run(inputs, branches)
    alone = [engine.run([one], [branch])[0] for one, branch in zip(inputs, branches, strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=0, atol=_TOLERANCE)


@pytest.mark.parametrize("name", ["onnx", "torch"])
@pytest.mark.parametrize("family", ["cifar/resnet18", "timm/deit_tiny_distilled_patch16_224", "openclip/ViT-B-32"])
def test_the_features_are_those_that_the_scores_are_made_of(
    name: str, family: str, backbone: Callable[[str], Backbone], picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = backbone(family)
    engine = _engine(name, network, tmp_path)
    keep = tuple(index % 2 == 0 or not may for index, may in enumerate(network.droppable))
    branches = [network.full, Branch(network.native_resolution // 2, keep)]
    inputs = [engine.prepare(picture, branch.resolution) for branch in branches]
    features = engine.features(inputs, branches)
    assert len({each.shape for each in features}) == 1
    assert np.abs(features[0] - features[1]).max() > _TOLERANCE
    with torch.inference_mode():
        scores = network.classified(torch.from_numpy(np.stack(features)))
    np.testing.assert_allclose(scores.numpy(), engine.run(inputs, branches), rtol=0, atol=_TOLERANCE)


@pytest.mark.parametrize("name", ["onnx", "torch"])
@pytest.mark.parametrize("family", ["cifar/resnet20", "cifar/resnet18", "timm/vit_tiny_patch16_224"])
def test_looked_at_first_and_completed_is_as_run_at_once(
    name: str, family: str, backbone: Callable[[str], Backbone], picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    base = backbone(family)
    other = copy.deepcopy(base)
    with torch.no_grad():
        next(other.blocks[0].parameters()).mul_(2)
    skipping = tuple(index % 2 == 0 or not may for index, may in enumerate(base.droppable))
    engine = _engine(name, base, tmp_path, other=other)
    side = base.native_resolution
    for network, key in ((base, REFERENCE), (other, "other")):
        seen = engine.look(engine.prepare(picture, side, key), side, key)
        images = _torch(network).prepare(picture, side)
        np.testing.assert_allclose(
            seen.embedding, embedding(network.step(0, network.stem(images), True).numpy())[0], rtol=0, atol=_TOLERANCE
        )
        for keep in (base.full.keep, skipping):
            (expected,) = _score(_torch(network), picture, [Branch(side, keep)])
            np.testing.assert_allclose(engine.complete(seen, keep), expected, rtol=0, atol=_TOLERANCE)


@_FEW
@given(data=st.data())
def test_engines_agree_along_random_branches(
    data: st.DataObject, backbone: Callable[[str], Backbone], picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    network = backbone("cifar/resnet18")
    branch = data.draw(_branches(network, (32, 24, 16)))
    reference = _score(_torch(network), picture, [branch])
    scores = _score(OnnxEngine({REFERENCE: Loaded(network)}, cache=tmp_path), picture, [branch])
    np.testing.assert_allclose(scores, reference, rtol=0, atol=_TOLERANCE)


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_no_pictures_have_no_scores(name: str, backbone: Callable[[str], Backbone], tmp_path: Path) -> None:
    network = backbone("cifar/resnet20")
    assert _engine(name, network, tmp_path).run([], []).shape == (0, 100)
    assert _engine(name, network, tmp_path).features([], []) == []


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_each_branch_runs_with_its_own_weights(name: str, backbone: Callable[[str], Backbone], tmp_path: Path) -> None:
    base = backbone("cifar/resnet20")
    other = copy.deepcopy(base)
    with torch.no_grad():
        other.blocks[4].conv1.weight.mul_(2)
    on_base, on_other = base.full, Branch(16, base.full.keep, "other")
    both = _engine(name, base, tmp_path, other=other)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    branches = [on_base, on_other]
    inputs = [
        both.prepare(each, branch.resolution, branch.network) for each, branch in zip(pictures, branches, strict=True)
    ]
    together = both.run(inputs, branches)
    paths = [Branch(branch.resolution, branch.keep) for branch in branches]
    alone = [
        _engine(name, network, tmp_path).run([one], [path])[0]
        for network, one, path in zip((base, other), inputs, paths, strict=True)
    ]
    np.testing.assert_allclose(together, np.stack(alone), rtol=0, atol=1e-5)
    assert np.abs(together[1] - _engine(name, base, tmp_path).run(inputs[1:], paths[1:])[0]).max() > 0.01
