"""What an adapter does is what peft does, before it is merged and after."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import network, pictures, stir
from torch import nn

from adainf.backbones import Backbone, Block, Classes
from adainf.backbones.adapters import Adapter, adapted, attach
from adainf.backbones.weights import fingerprint
from adainf.base.errors import InvalidInputError
from adainf.preprocessing import Preprocessing
from adainf.run import Manifest, Run, digest

RANK, ALPHA = 4, 8


def attention() -> Backbone:
    """open_clip's own block, whose attention is PyTorch's."""
    from open_clip.transformer import ResidualAttentionBlock

    torch.manual_seed(0)
    tokens = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Flatten(2), nn.Linear(16, 16))
    blocks = [Block(ResidualAttentionBlock(16, 2), nn.Identity()) for _ in range(2)]
    preprocessing = Preprocessing(32, (0, 0, 0), (1, 1, 1))
    head = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    return stir(
        Backbone(
            "openclip/block",
            stem=tokens,
            blocks=blocks,
            head=head,
            preprocessing=preprocessing,
            classes=Classes(("a", "b", "c")),
            resolution_step=8,
        )
    )


NETWORKS: dict[str, Callable[[], Backbone]] = {
    "timm/tf_efficientnet_lite0": lambda: network("timm/tf_efficientnet_lite0"),
    "timm/mobilenetv3_small_100": lambda: network("timm/mobilenetv3_small_100"),
    "timm/mobilenetv4_conv_small": lambda: network("timm/mobilenetv4_conv_small"),
    "timm/ghostnet_100": lambda: network("timm/ghostnet_100"),
    "timm/efficientvit_b0": lambda: network("timm/efficientvit_b0"),
    "timm/fastvit_t8": lambda: network("timm/fastvit_t8"),
    "timm/vit_tiny_patch16_224": lambda: network("timm/vit_tiny_patch16_224"),
    "cifar/resnet20": lambda: network("cifar/resnet20"),
    "openclip/block": attention,
}


@pytest.fixture(params=sorted(NETWORKS))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return NETWORKS[request.param]()


def stirred(adapter: Adapter) -> Adapter:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    adapter.apply()
    return adapter


def by_peft(backbone: Backbone, adapter: Adapter) -> Backbone:
    """The base network with peft's own layers in it, the adapter's values in them."""
    from peft import LoraConfig, inject_adapter_in_model

    layers = {name.split(".lora_")[0] for name in adapter.parameters if ".lora_" in name and "base_layer" not in name}
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=sorted(layers))
    injected = inject_adapter_in_model(config, copy.deepcopy(backbone))
    with torch.no_grad():
        for name, parameter in injected.named_parameters():
            if ".lora_" in name:
                parameter.copy_(adapter.parameters[name.replace(".default", "")])
    return injected


@pytest.mark.parametrize("kind", ["lora", "full", "none"])
def test_at_first_an_adapter_changes_nothing(backbone, kind):
    images = pictures(2, 32)
    before = fingerprint(backbone)
    adapter = attach(backbone, kind, RANK, ALPHA)
    with torch.no_grad():  # attention takes another way, with other rounding, where gradients are wanted
        assert torch.equal(adapter.backbone(images), backbone(images))
    assert fingerprint(backbone) == before


def test_answers_and_gradients_are_those_of_pefts_layers(backbone):
    adapter = attach(backbone, "lora", RANK, ALPHA)
    stirred(adapter)
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            # peft cannot merge kernels with groups, and merges the output of PyTorch's attention twice (0.21).
            if name.endswith(".delta") or "base_layer" in name:
                parameter.zero_()
    adapter.apply()
    reference = by_peft(backbone, adapter)
    images = pictures(2, 32)
    ours, theirs = adapter.backbone(images), reference(images)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(ours, backbone(images), atol=1e-2)
    ours.square().mean().backward()
    theirs.square().mean().backward()
    adapter.gather()
    compared = 0
    for name, parameter in reference.named_parameters():
        if ".lora_" in name and "base_layer" not in name and parameter.grad is not None:
            gradient = adapter.parameters[name.replace(".default", "")].grad
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-2, atol=1e-3 * parameter.grad.abs().max())
            compared += 1
    assert compared > 0


def test_gradients_reach_what_belongs_to_kernels_with_groups():
    adapter = attach(network("timm/tf_efficientnet_lite0"), "lora", RANK, ALPHA)
    adapter.backbone(pictures(1, 32)).square().mean().backward()
    adapter.gather()
    assert adapter.parameters["blocks.4.conv_dw.delta"].grad.abs().max() > 0


def a_run(folder: Path, backbone: Backbone, adapter: Adapter, kind: str, told: object = None) -> Run:
    adapter.save(folder / "adapter.safetensors")
    rank = {"rank": RANK, "alpha": ALPHA} if kind == "lora" else {}
    training = {
        "recipe": "distil",
        "sources": [],
        "images": 1,
        "labelled": False,
        "resolutions": [32],
        "steps": 1,
        "batch": 1,
        "learning_rate": 1,
        "seed": 0,
        "seconds": 0,
        "loss": 0,
        "created": "",
        "version": "",
    }
    manifest = {
        "schema": "adainf.run/1",
        "backbone": backbone.name,
        "weights": fingerprint(backbone),
        "native_resolution": 32,
        "adapter": told or {"kind": kind, **rank},
        "scheduler": "none",
        "training": training,
        "files": {"adapter.safetensors": digest(folder / "adapter.safetensors")},
    }
    return Run.write(folder, Manifest.model_validate(manifest))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_merged_run_answers_as_the_trained_network(backbone, tmp_path, kind):
    adapter = stirred(attach(backbone, kind, RANK, ALPHA))
    merged = adapted(backbone, Run.read(a_run(tmp_path, backbone, adapter, kind).folder))
    assert type(merged.blocks[1]) is type(backbone.blocks[1])
    assert merged.state_dict().keys() == backbone.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(merged(pictures(2, 32)), adapter.backbone(pictures(2, 32)))
    assert not any(parameter.requires_grad for parameter in merged.parameters())


@pytest.mark.parametrize("kind", ["lora", "full", "none"])
@pytest.mark.parametrize("name", ["cifar/resnet20", "timm/tf_efficientnet_lite0"])
def test_statistics_that_moved_belong_to_the_run(tmp_path, name, kind):
    backbone = network(name)
    adapter = stirred(attach(backbone, kind, RANK, ALPHA))
    still = adapter.backbone(pictures(2, 32)).detach()
    adapter.move_statistics()
    for _ in range(3):
        adapter.backbone(pictures(4, 32))
    adapter.backbone.eval()
    with torch.no_grad():
        trained = adapter.backbone(pictures(2, 32))
        run = a_run(tmp_path, backbone, adapter, kind)
        assert torch.equal(adapted(backbone, run)(pictures(2, 32)), trained)
        assert torch.equal(
            adapted(backbone, run, 1e-9).get_buffer(_first(backbone)), backbone.get_buffer(_first(backbone))
        )
    assert not torch.allclose(trained, still, atol=1e-4)


def _first(backbone: Backbone) -> str:
    return next(name for name, _ in backbone.named_buffers() if name.endswith("running_mean"))


def test_statistics_of_a_network_without_batch_norm_are_refused():
    with pytest.raises(InvalidInputError, match=r"vit_tiny_patch16_224 has no batch norm; it must be 'frozen'$"):
        attach(network("timm/vit_tiny_patch16_224"), "lora", RANK, ALPHA).move_statistics()


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_at_half_its_strength_a_run_is_half_way_between_base_and_trained(backbone, tmp_path, kind):
    run = a_run(tmp_path, backbone, stirred(attach(backbone, kind, RANK, ALPHA)), kind)
    whole, half = adapted(backbone, run), adapted(backbone, run, 0.5)
    moved = 0
    for name, base in backbone.named_parameters():
        there, between = whole.get_parameter(name), half.get_parameter(name)
        assert torch.allclose(between, (base + there) / 2, atol=1e-6)
        moved += not torch.equal(base, there)
    assert moved > 3


def test_a_run_of_other_weights_is_refused(tmp_path):
    backbone = network("cifar/resnet20")
    run = a_run(tmp_path, backbone, attach(backbone, "lora", RANK, ALPHA), "lora")
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(InvalidInputError, match=r"was trained on other weights of cifar/resnet20 than these$"):
        adapted(other, run)
    with pytest.raises(InvalidInputError, match=r"is of cifar/resnet20, not of cifar/resnet32$"):
        adapted(network("cifar/resnet32"), run)


@pytest.mark.parametrize("adapter", [{"kind": "full"}, {"kind": "lora"}, {"kind": "lora", "rank": 4, "alpha": 1}])
def test_an_adapter_that_does_not_fit_its_manifest_is_refused(tmp_path, adapter):
    backbone, other = network("cifar/resnet20"), network("cifar/resnet32")
    run = a_run(tmp_path, backbone, attach(other, "lora", RANK, ALPHA), "lora", told=adapter)
    with pytest.raises(InvalidInputError, match=r"adapter"):
        adapted(backbone, run)


def test_a_damaged_adapter_is_refused(tmp_path):
    backbone = network("cifar/resnet20")
    a_run(tmp_path, backbone, attach(backbone, "full"), "full")
    damaged = (tmp_path / "adapter.safetensors").read_bytes()[:-1]
    (tmp_path / "adapter.safetensors").write_bytes(damaged)
    with pytest.raises(InvalidInputError, match=r"is not the file that manifest\.json names"):
        Run.read(tmp_path)
