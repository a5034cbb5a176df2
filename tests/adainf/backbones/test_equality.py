"""The full branch is the untouched network.

timm and open_clip are imported by the tests that need them: it takes seconds, in each process that collects tests.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from networks import LABELS, pictures, stir
from safetensors.torch import save_file
from torch import Tensor, nn

from adainf.backbones import RANDOM, Backbone, Options, load
from adainf.backbones.cifar import CifarResNet
from adainf.backbones.macs import branch_space, count
from adainf.backbones.openclip import prompt
from adainf.backbones.options import seeded

TOLERANCE = 1e-5

TRANSFORMERS = {
    "vit_tiny_patch16_224": (224, 96),
    "deit_tiny_distilled_patch16_224": (224, 96),
    "deit3_small_patch16_224": (224, 96),  # no position for the class token
    "vit_xsmall_patch16_clip_224": (224, 96),  # a norm before the blocks
    "vit_wee_patch16_reg1_gap_256": (256, 96),  # a register, no class token, mean of the patches
    "vit_small_patch14_reg4_dinov2": (112, 224),
}
CONVOLUTIONAL = (
    "resnet18",
    "resnet50",
    "resnet26d",
    "skresnet18",
    "seresnet50",
    "res2net50_14w_8s",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "tf_mobilenetv3_small_minimal_100",
    "mobilenetv4_conv_small",
    "mobilenetv4_hybrid_medium",
    "lcnet_050",
    "lcnet_075",
    "fbnetv3_b",
    "ghostnet_100",
    "ghostnetv2_100",
    "ghostnetv3_100",  # parallel layers, merged, as in FastViT
    "efficientvit_b0",
    "efficientvit_l1",
    "fastvit_t8",
    "fastvit_sa12",
)


@torch.inference_mode()
def assert_same(backbone: nn.Module, reference: nn.Module, resolution: int) -> None:
    images = pictures(2, resolution)
    expected = reference.eval()(images)
    assert expected.std() > 10 * TOLERANCE
    torch.testing.assert_close(backbone(images), expected, rtol=TOLERANCE, atol=TOLERANCE)


def through_a_file(name: str, network: nn.Module, folder: Path, labels: tuple[str, ...] = ()) -> Backbone:
    path = folder / "weights.safetensors"
    save_file(network.state_dict(), path)
    return load(name, Options(weights=str(path), labels=labels))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_vision_transformer_of_timm(name: str, tmp_path: Path) -> None:
    import timm

    reference = stir(timm.create_model(name, num_classes=7, dynamic_img_size=True))
    backbone = through_a_file(f"timm/{name}", reference, tmp_path)
    for resolution in TRANSFORMERS[name]:
        assert_same(backbone, reference, resolution)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_network_of_timm(name: str, tmp_path: Path) -> None:
    import timm

    with seeded():
        reference = stir(timm.create_model(name, num_classes=7))
    backbone = through_a_file(f"timm/{name}", reference, tmp_path)
    for resolution in (128, 80):
        assert_same(backbone, reference, resolution)
    with torch.inference_mode():
        images = pictures(2, 80)
        features = reference.forward_head(reference.forward_features(images), pre_logits=True)
        hidden = backbone.stem(images)
        for block in backbone.blocks:
            hidden = block(hidden)
        torch.testing.assert_close(backbone.head[:-1](hidden), features, rtol=TOLERANCE, atol=TOLERANCE)
    assert isinstance(backbone.head[-1], nn.Linear)
    merged = timm.models.reparameterize_model(reference).to("meta")
    macs = branch_space(backbone, (80,)).parts[80].along(backbone.full.keep)
    assert macs == count(lambda: merged(torch.empty(1, 3, 80, 80, device="meta")))


@pytest.mark.parametrize(
    ("name", "widths", "blocks"), [("resnet18", (64, 128, 256, 512), 2), ("resnet20", (16, 32, 64), 3)]
)
def test_network_for_small_pictures(name: str, widths: tuple[int, ...], blocks: int, tmp_path: Path) -> None:
    reference = stir(CifarResNet(widths, blocks, 7))
    backbone = through_a_file(f"cifar/{name}", reference, tmp_path)
    for resolution in (32, 44):
        assert_same(backbone, reference, resolution)


def test_real_weights(demo_weights: Path) -> None:
    import timm

    reference = timm.create_model("tf_efficientnet_lite0")
    theirs = torch.load(demo_weights, weights_only=True)
    reference.load_state_dict(dict(zip(reference.state_dict(), theirs.values(), strict=True)))
    backbone = load("timm/tf_efficientnet_lite0", Options(weights=str(demo_weights)))
    assert_same(backbone, reference, 224)


class Clip(nn.Module):
    """What open_clip's users do: similarity of the pictures to the prompts, scaled."""

    def __init__(self, name: str, model: Any) -> None:
        import open_clip

        super().__init__()
        self.model = model
        self.tokens = open_clip.get_tokenizer(name)([prompt(label) for label in LABELS])

    def forward(self, images: Tensor) -> Tensor:
        pictures, texts, scale = self.model(images, self.tokens)[:3]
        scores: Tensor = scale * pictures @ texts.T
        return scores


def test_clip_vision_transformer() -> None:
    import open_clip
    from open_clip.model import resize_pos_embed

    backbone = load("openclip/ViT-B-32", Options(weights=RANDOM, labels=LABELS))
    with seeded():
        reference = open_clip.create_model("ViT-B-32", load_weights=False)
    assert_same(backbone, Clip("ViT-B-32", reference), 224)
    state = reference.state_dict()
    reference.visual.grid_size = (5, 5)
    resize_pos_embed(state, reference)
    reference.visual.positional_embedding = nn.Parameter(state["visual.positional_embedding"])
    assert_same(backbone, Clip("ViT-B-32", reference), 160)


@pytest.mark.parametrize(
    ("name", "resolutions", "mean"), [("RN50", (224,), 0.48145466), ("MobileCLIP-S1", (256, 96), 0)]
)
def test_clip_convolutional_tower(name: str, resolutions: tuple[int, ...], mean: float, tmp_path: Path) -> None:
    import open_clip

    with seeded():
        reference = stir(open_clip.create_model(name, load_weights=False))
    backbone = through_a_file(f"openclip/{name}", reference, tmp_path, LABELS)
    assert (backbone.native_resolution, backbone.preprocessing.mean[0]) == (resolutions[0], mean)
    for resolution in resolutions:
        assert_same(backbone, Clip(name, reference), resolution)
