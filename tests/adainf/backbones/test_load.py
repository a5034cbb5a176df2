"""Names, labels and hubs: what is refused, and how."""

import re
import time
from pathlib import Path

import pytest

from adainf.backbones import RANDOM, Options, load
from adainf.base.errors import InvalidInputError, UnavailableError


@pytest.mark.parametrize("name", ["resnet18", "torch/resnet18", "", "/", "Timm/resnet18"])
def test_unknown_family(name: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        load(name)
    assert str(raised.value) == (
        f"backbone {name!r}: must be FAMILY/NAME with one of the families cifar, openclip, timm"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/resnet8", "resnet18"),
        ("timm/resnet18.b1_in1k", "resnet18.a1_in1k"),
        ("openclip/ViT-B32", "ViT-B-32"),
        ("cifar/resnet23", "resnet32"),
        ("timm/", "none"),
    ],
)
def test_unknown_name_comes_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^backbone '{name}': unknown; the nearest names are .*\b{near}\b"):
        load(name, Options(RANDOM, labels=("a",)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("timm/convnext_tiny", "is a ConvNeXt; must be"),
        ("timm/vit_tiny_r_s16_p8_224", "is a VisionTransformer; must be a plain ViT"),
        ("timm/repvit_m0_9", "is a RepVit; must be"),
        ("timm/efficientvit_m0", "is a EfficientVitMsra; must be"),
        ("openclip/ViT-B-16-SigLIP", "image tower is no plain ViT, ResNet or FastViT"),
    ],
)
def test_other_kind_of_network(name: str, kind: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^backbone '{name}'.*{kind}"):
        load(name, Options(RANDOM, labels=("a", "b")))


def test_network_without_classifier() -> None:
    with pytest.raises(InvalidInputError, match="have no classifier"):
        load("timm/vit_small_patch14_reg4_dinov2", Options(RANDOM))


def test_labels_that_a_zero_shot_head_needs() -> None:
    with pytest.raises(
        InvalidInputError, match=r"^labels: none given; 'openclip/RN50' recognises the texts it is given$"
    ):
        load("openclip/RN50", Options(RANDOM))


def test_labels_name_the_classes_of_a_closed_head(demo_weights: Path) -> None:
    assert load("cifar/resnet20", Options(RANDOM, labels=("a", "b"))).classes.names == ("a", "b")
    with pytest.raises(InvalidInputError, match=r"^labels: 2 given, but the weights' head has 1000 classes$"):
        load("timm/tf_efficientnet_lite0", Options(str(demo_weights), labels=("a", "b")))


def test_imagenet_classes(demo_weights: Path) -> None:
    classes = load("timm/tf_efficientnet_lite0", Options(str(demo_weights))).classes
    assert (len(classes.names), classes.names[671], classes.ids[671]) == (1000, "mountain bike", "n03792782")


@pytest.mark.parametrize(
    ("name", "size", "mean", "crop_fraction"),
    [
        ("timm/tf_efficientnet_lite0", 224, 0.5, 0.875),
        ("timm/mobilenetv3_small_100", 224, 0.485, 0.875),
        ("timm/lcnet_050", 224, 0.485, 0.875),
        ("timm/mobilenetv4_conv_small.e3600_r256_in1k", 256, 0.5, 0.95),
        ("timm/mobilenetv4_hybrid_medium", 256, 0.485, 0.95),
        ("timm/efficientvit_b0", 224, 0.485, 0.95),
        ("timm/fastvit_t8", 256, 0.485, 0.9),
    ],
)
def test_pictures_are_prepared_as_the_weights_expect(name: str, size: int, mean: float, crop_fraction: float) -> None:
    found = load(name, Options(RANDOM)).preprocessing
    assert (found.size, found.mean[0], found.crop_fraction) == (size, mean, crop_fraction)


def test_unknown_tag() -> None:
    with pytest.raises(
        InvalidInputError, match=r"^weights 'opnai': must be a file, 'random' or, for openclip/RN50, one"
    ):
        load("openclip/RN50", Options("opnai", labels=("a",)))
    with pytest.raises(InvalidInputError, match=r"^weights 'b1': must be a file, 'random' or, for timm/resnet18, one"):
        load("timm/resnet18", Options("b1"))


@pytest.mark.parametrize("name", ["timm/efficientnet_b6", "openclip/ViT-S-32", "cifar/resnet20"])
def test_network_without_weights_to_fetch(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"has none to fetch; give a file or 'random'$"):
        load(name, Options(labels=("a",)))


@pytest.mark.parametrize("name", ["timm/resnet18", "openclip/RN50"])
def test_hub_out_of_reach(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=rf"{name}: cannot be fetched; give a local file \([^\n]*\)$"):
        load(name, Options(labels=("a", "b") if "clip" in name else ()))
    assert time.monotonic() - started < 20
    assert re.sub(r"\s", "", capfd.readouterr().err) == ""
    assert not constants.HF_HUB_OFFLINE
