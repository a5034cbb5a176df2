import numpy as np
import pytest
import torch

from adainf.backbones import Options, load
from adainf.backbones.macs import branch_space
from adainf.backbones.prefixes import features_of_each, scores_of_each, scores_of_wanted


@pytest.mark.parametrize("name", ["cifar/resnet20", "cifar/resnet18"])
@torch.inference_mode()
def test_sharing_prefixes_changes_no_score(name):
    backbone = load(name, Options("random"))
    keeps = [branch.keep for branch in branch_space(backbone)][::29]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shared = dict(scores_of_each(backbone, images, keeps))
    assert shared.keys() == set(keeps)
    for keep in keeps:
        torch.testing.assert_close(shared[keep], backbone(images, keep), rtol=0, atol=0)


@torch.inference_mode()
def test_sharing_prefixes_changes_no_features():
    backbone = load("cifar/resnet20", Options("random"))
    keeps = [branch.keep for branch in branch_space(backbone)][::29]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for keep, features in features_of_each(backbone, images, keeps):
        alone = backbone.features_each(images, [keep] * len(images))
        torch.testing.assert_close(features, alone, rtol=0, atol=0)


@torch.inference_mode()
def test_a_shared_block_runs_once():
    backbone = load("cifar/resnet20", Options("random"))
    keeps = [branch.keep for branch in branch_space(backbone) if all(branch.keep[:6])]
    runs = []
    for index, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda *_, index=index: runs.append(index))
    list(scores_of_each(backbone, torch.zeros(1, 3, 32, 32), keeps))
    assert [runs.count(index) for index in range(9)] == [1, 1, 1, 1, 1, 1, 1, 2, 4]


@torch.inference_mode()
def test_each_picture_along_ways_of_its_own_has_the_scores_of_those_ways():
    backbone = load("cifar/resnet20", Options("random"))
    keeps = [branch.keep for branch in branch_space(backbone)][::37]
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    draw = np.random.default_rng(0)
    wanted = {keep: np.flatnonzero(draw.random(5) < 1 / 2) for keep in keeps}
    wanted = {keep: positions for keep, positions in wanted.items() if len(positions)}
    hidden = backbone.step(0, backbone.stem(images), True)
    found = {keep: (positions, scores) for keep, positions, scores in scores_of_wanted(backbone, hidden, 1, wanted)}
    assert found.keys() == wanted.keys()
    for keep, (positions, scores) in found.items():
        assert positions.tolist() == wanted[keep].tolist()
        torch.testing.assert_close(scores, backbone(images, keep)[positions], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_what_is_passed_on_the_way_is_seen_once_and_is_what_a_branch_alone_passes():
    backbone = load("cifar/resnet20", Options("random"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    keeps = [(True,) * len(backbone.blocks), (*(True,) * (len(backbone.blocks) - 1), False)]
    seen = {}

    def passing(kept, hidden):
        assert kept not in seen
        seen[kept] = hidden

    list(scores_of_each(backbone, images, keeps, passing))
    hidden = backbone.stem(images)
    for index in range(len(backbone.blocks)):
        torch.testing.assert_close(seen[(True,) * index], hidden)
        hidden = backbone.step(index, hidden, True)
    assert set(keeps) <= set(seen)
