"""What runs along a branch, and what it costs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import network, pictures
from torch import nn

from adainf.backbones import Backbone
from adainf.backbones.macs import _on_meta, branch_space, count
from adainf.base.errors import InvalidInputError
from adainf.branch import BranchSpace

NETWORKS = {
    "timm/vit_tiny_patch16_224": (64, 96),
    "timm/resnet18": (64, 96),
    "timm/tf_efficientnet_lite0": (64, 96),
    "timm/mobilenetv3_small_100": (64, 96),
    "timm/mobilenetv4_conv_small": (64, 96),
    "timm/lcnet_050": (64, 96),
    "timm/ghostnetv2_100": (64, 96),
    "timm/efficientvit_b0": (64, 96),
    "timm/fastvit_t8": (64, 96),
    "cifar/resnet18": (32, 48),
    "cifar/resnet20": (32, 48),
}
few = settings(max_examples=20, deadline=None)
names = st.sampled_from(sorted(NETWORKS))


def keeps(backbone: Backbone) -> st.SearchStrategy[tuple[bool, ...]]:
    return st.tuples(*(st.booleans() if may else st.just(True) for may in backbone.droppable))


@contextmanager
def calls(modules: Sequence[nn.Module]) -> Iterator[Counter[int]]:
    """How often each of the modules ran inside."""
    counted: Counter[int] = Counter()
    hooks = [
        module.register_forward_hook(lambda *_, index=index: counted.update([index]))
        for index, module in enumerate(modules)
    ]
    try:
        yield counted
    finally:
        for hook in hooks:
            hook.remove()


def test_blocks_that_may_be_skipped() -> None:
    written = {name: "".join("01"[may] for may in network(name).droppable) for name in NETWORKS}
    assert written == {
        "timm/vit_tiny_patch16_224": "011111111111",
        "timm/resnet18": "01111111",
        "timm/tf_efficientnet_lite0": "0010101101101110",
        "timm/mobilenetv3_small_100": "001011010110",
        "timm/mobilenetv4_conv_small": "00000111110111110",
        "timm/lcnet_050": "0000000000000",
        "timm/ghostnetv2_100": "01111111111111110",
        "timm/efficientvit_b0": "0101011011",
        "timm/fastvit_t8": "0101101111011",
        "cifar/resnet18": "01111111",
        "cifar/resnet20": "011111111",
    }


@few
@given(data=st.data(), name=names)
def test_skipped_block_is_not_executed(data: st.DataObject, name: str) -> None:
    backbone = network(name)
    keep = data.draw(keeps(backbone))
    with torch.inference_mode(), calls(list(backbone.blocks)) as counted:
        backbone(pictures(1, NETWORKS[name][0]), keep)
    assert counted == {index: 1 for index, kept in enumerate(keep) if kept}


@few
@given(data=st.data(), name=names)
def test_each_picture_along_its_own_branch(data: st.DataObject, name: str) -> None:
    backbone = network(name)
    chosen = data.draw(st.lists(keeps(backbone), min_size=1, max_size=5))
    images = pictures(len(chosen), NETWORKS[name][0])
    with torch.inference_mode(), calls(list(backbone.blocks)) as counted:
        together = backbone.forward_each(images, chosen)
    assert max(counted.values()) == 1
    with torch.inference_mode():
        one_by_one = torch.cat([backbone(image[None], keep) for image, keep in zip(images, chosen, strict=True)])
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "changing", "projection"),
    [("timm/resnet18", 2, "downsample"), ("cifar/resnet18", 2, "shortcut"), ("openclip/RN50", 3, "downsample")],
)
def test_block_that_changes_the_shape_keeps_its_projection(name: str, changing: int, projection: str) -> None:
    backbone = network(name)
    keep = tuple(index != changing for index in range(len(backbone.blocks)))
    with torch.inference_mode():
        expected = backbone.stem(pictures(2, 64))
        for index, block in enumerate(backbone.blocks):
            expected = block(expected) if keep[index] else torch.relu(block.get_submodule(projection)(expected))
        assert torch.equal(backbone(pictures(2, 64), keep), backbone.head(expected))


def test_ghost_block_that_changes_the_shape_keeps_its_projection() -> None:
    backbone = network("timm/ghostnetv2_100")
    keep = tuple(index != 1 for index in range(len(backbone.blocks)))
    with torch.inference_mode():
        expected = backbone.blocks[1].shortcut(backbone.blocks[0](backbone.stem(pictures(2, 64))))
        for block in backbone.blocks[2:]:
            expected = block(expected)
        assert torch.equal(backbone(pictures(2, 64), keep), backbone.head(expected))


def test_padded_shortcut_picks_every_second_pixel_and_adds_channels_of_zeros() -> None:
    around = network("cifar/resnet20").shortcuts[3](torch.ones(1, 16, 8, 8))
    assert around.shape == (1, 32, 4, 4)
    assert around.sum(dim=(0, 2, 3)).tolist() == [0] * 8 + [16] * 16 + [0] * 8


@pytest.mark.parametrize(
    ("name", "billions"),
    [("openclip/ViT-B-32", 4.409), ("timm/deit_tiny_patch16_224", 1.2537), ("timm/tf_efficientnet_lite0", 0.3852)],
)
def test_macs_of_known_networks(name: str, billions: float) -> None:
    space = branch_space(network(name))
    assert space.macs(space.full) == pytest.approx(billions * 1e9, rel=1e-3)


_spaces: dict[str, tuple[BranchSpace, Backbone]] = {}


def _counted(name: str) -> tuple[BranchSpace, Backbone]:
    if name not in _spaces:
        backbone = network(name)
        _spaces[name] = branch_space(backbone, NETWORKS[name]), _on_meta(backbone)
    return _spaces[name]


@few
@given(data=st.data(), name=names)
def test_macs_of_a_branch_are_what_runs(data: st.DataObject, name: str) -> None:
    space, on_meta = _counted(name)
    resolution = data.draw(st.sampled_from(NETWORKS[name]))
    keep = data.draw(keeps(network(name)))
    images = torch.empty(1, 3, resolution, resolution, device="meta")
    assert space.parts[resolution].along(keep) == count(lambda: on_meta(images, keep))


def test_counting_leaves_the_network_alone() -> None:
    backbone = network("timm/vit_tiny_patch16_224")
    with torch.inference_mode():
        before = backbone(pictures(1, 96))
        branch_space(backbone, [64, 96])
        assert torch.equal(backbone(pictures(1, 96)), before)


def test_resolution_off_the_grid_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^resolution 100: timm/vit_tiny_patch16_224 takes multiples of 16$"):
        branch_space(network("timm/vit_tiny_patch16_224"), [100])


def test_resolution_too_small_for_the_network_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^resolution 32: timm/ghostnetv2_100 cannot run at it \(.*too small"):
        branch_space(network("timm/ghostnetv2_100"), [32])


def test_native_resolution_off_the_grid() -> None:
    space = branch_space(network("timm/tf_efficientnet_lite2"), [128])
    assert sorted(space.parts) == [128, 260]


def test_loaded_weights_reach_a_resolution_that_ran_before() -> None:
    backbone = network("timm/vit_tiny_patch16_224")
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.inference_mode():
        before = backbone(pictures(1, 96))
        backbone.load_state_dict({**state, "stem.positions.embedding": -state["stem.positions.embedding"]})
        changed = backbone(pictures(1, 96))
        backbone.load_state_dict(state)
    assert not torch.allclose(before, changed, atol=1e-3)
