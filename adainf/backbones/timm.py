"""Networks from timm: vision transformers, ResNets, EfficientNets, and smaller ones for phones and boxes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adainf.backbones import weights as weight_files
from adainf.backbones.base import Backbone, Block, Classes
from adainf.backbones.options import RANDOM, Options, seeded, unknown_name
from adainf.backbones.positions import PositionEmbedding
from adainf.base.errors import InvalidInputError, MissingWeightsError
from adainf.downloads.hub import from_hub

__all__ = ["Split", "build", "imagenet_classes", "split"]

_IMAGENET_CLASSES = 1000
_CONVOLUTIONAL_STEP = 16
# The last layer's name in timm's networks, and in the package efficientnet_pytorch.
_CLASSIFIERS = ("classifier", "fc", "head", "head.fc", "head.classifier.4", "_fc")
# Names in a bottleneck, a basic block, a selective-kernel block and a Res2Net block.
_LAST_ACTIVATIONS = ("act3", "act2", "act", "relu")


@dataclass(frozen=True, slots=True)
class Split:
    """A network of timm as stem → blocks → head, with its `Backbone.resolution_step`.

    head: as in `Backbone`.
    """

    stem: nn.Module
    blocks: list[Block]
    head: nn.Sequential
    resolution_step: int = _CONVOLUTIONAL_STEP


def build(name: str, options: Options) -> Backbone:
    """Return timm's `name`, of one of the kinds that `split` knows.

    A name with a tag, such as `mobilenetv4_conv_small.e3600_r256_in1k`, stands for the weights of that tag at the hub,
    and prepares pictures as these expect where a file has the weights.

    Raises InvalidInputError on an unknown name or another kind of network, or if weights do not fit; UnavailableError
    if weights cannot be fetched.
    """
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown_name("timm", name, timm.list_models())
    if tag and tag not in (tags := _tags(timm, architecture)):
        raise unknown_name("timm", name, (f"{architecture}.{known}" for known in tags))
    model = _load(timm, name, options)
    if not model.num_classes:
        raise InvalidInputError(f"weights of timm/{name}: have no classifier, so nothing to recognise with")
    parts = split(model)
    if parts is None:
        raise InvalidInputError(
            f"backbone 'timm/{name}': is a {type(model).__name__}; must be a plain ViT or DeiT with learnt positions, "
            "a ResNet, EfficientNet, MobileNet, LCNet, GhostNet, FastViT or MIT's EfficientViT"
        )
    config = model.pretrained_cfg
    return Backbone(
        f"timm/{name}",
        stem=parts.stem,
        blocks=parts.blocks,
        head=parts.head,
        preprocessing=options.preprocessing(
            config["input_size"][-1], config["mean"], config["std"], config.get("crop_pct") or 1.0
        ),
        classes=_classes(model.num_classes, options.labels),
        resolution_step=parts.resolution_step,
    )


def split(model: nn.Module) -> Split | None:
    """Return a network of timm as stem → blocks → head, or None if it is of another kind.

    Parallel layers that serve training alone are merged into one, in place, as the authors of such networks do for
    inference; the scores stay the same.
    """
    from timm.layers import PatchEmbed
    from timm.models import reparameterize_model
    from timm.models.efficientnet import EfficientNet
    from timm.models.efficientvit_mit import EfficientVit, EfficientVitLarge
    from timm.models.fastvit import FastVit
    from timm.models.ghostnet import GhostNet
    from timm.models.mobilenetv3 import MobileNetV3
    from timm.models.resnet import ResNet
    from timm.models.vision_transformer import VisionTransformer

    match model:
        case VisionTransformer(patch_embed=PatchEmbed(), attn_pool=None) if model.pos_embed is not None:
            blocks = [Block(block, nn.Identity()) for block in model.blocks]
            return Split(_ViTStem(model), blocks, _vit_head(model), model.patch_embed.patch_size[0])
        case ResNet():
            stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
            layers = (model.layer1, model.layer2, model.layer3, model.layer4)
            blocks = [_residual(block) for layer in layers for block in layer]
            return Split(stem, blocks, nn.Sequential(model.global_pool, model.fc))
        case EfficientNet():
            head = nn.Sequential(model.conv_head, model.bn2, model.global_pool, model.classifier)
            return Split(nn.Sequential(model.conv_stem, model.bn1), _inverted_residuals(model), head)
        case MobileNetV3():
            head = _efficient_head(model, model.norm_head, model.act2)
            return Split(nn.Sequential(model.conv_stem, model.bn1), _inverted_residuals(model), head)
        case GhostNet():
            reparameterize_model(model, inplace=True)
            stem = nn.Sequential(model.conv_stem, model.bn1, model.act1)
            blocks = [Block(block, getattr(block, "shortcut", None)) for stage in model.blocks for block in stage]
            return Split(stem, blocks, _efficient_head(model, model.act2))
        case EfficientVit() | EfficientVitLarge():
            blocks = [_residual_module(block) for stage in model.stages for block in stage.blocks]
            head = nn.Sequential(model.head.in_conv, model.head.global_pool, *model.head.classifier)
            return Split(model.stem, blocks, head)
        case FastVit():
            reparameterize_model(model, inplace=True)
            blocks = [block for stage in model.stages for block in _metaformer_stage(stage)]
            return Split(model.stem, blocks, nn.Sequential(model.final_conv, model.head.global_pool, model.head.fc))
    return None


def _load(timm: Any, name: str, options: Options) -> Any:
    path = options.weights_file
    if path is None and options.weights != RANDOM:
        tagged = f"{name}.{options.weights}" if options.weights else name
        if options.weights and options.weights not in (tags := _tags(timm, name)):
            raise InvalidInputError(
                f"weights {options.weights!r}: must be a file, 'random' or, for timm/{name}, one of: {', '.join(tags)}"
            )
        if not timm.models.is_model_pretrained(tagged):
            raise MissingWeightsError(f"weights: timm/{name} has none to fetch; give a file or 'random'")
        return from_hub(f"weights of timm/{tagged}", f"timm/{name}", lambda: timm.create_model(tagged, pretrained=True))
    if path is None:
        with seeded():
            return timm.create_model(name, pretrained=False, num_classes=len(options.labels) or None)
    state = weight_files.read(path)
    classes = weight_files.head_size(state, _CLASSIFIERS)
    with seeded():
        model = timm.create_model(name, pretrained=False, num_classes=classes)
    if "_conv_stem.weight" in state:
        state = _from_efficientnet_pytorch(state, model)
    weight_files.fit(model, state, path, f"timm/{name}")
    return model


def _tags(timm: Any, name: str) -> list[str]:
    return [model.removeprefix(f"{name}.") for model in timm.list_models(f"{name}.*", pretrained=True)]


def _from_efficientnet_pytorch(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Rename tensors of the package efficientnet_pytorch to timm's names; both list the same ones in the same order."""
    names = list(model.state_dict())
    matches = len(names) == len(state) and all(
        theirs.rpartition(".")[2] == ours.rpartition(".")[2] for theirs, ours in zip(state, names, strict=True)
    )
    return dict(zip(names, state.values(), strict=True)) if matches else state


def _classes(count: int, labels: tuple[str, ...]) -> Classes:
    if labels and len(labels) != count:
        raise InvalidInputError(f"labels: {len(labels)} given, but the weights' head has {count} classes")
    if labels:
        return Classes(labels)
    return imagenet_classes() if count == _IMAGENET_CLASSES else Classes(tuple(f"class {i}" for i in range(count)))


def imagenet_classes() -> Classes:
    """Return ImageNet-1k's classes by index: the first of each class's names, and its WordNet id."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    indices = range(info.num_classes())
    names = tuple(info.index_to_description(index).split(",")[0] for index in indices)
    return Classes(names, tuple(info.index_to_label_name(index) for index in indices))


class _ViTStem(nn.Module):
    """Patch embedding, prefix tokens, position embedding and the norm before the blocks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.patches = model.patch_embed.proj
        self.patch_norm = model.patch_embed.norm
        tokens = (getattr(model, name, None) for name in ("cls_token", "dist_token", "reg_token"))
        self.prefixes = nn.ParameterList([token for token in tokens if token is not None])
        self.prefix_has_positions = not model.no_embed_class
        prefix_tokens = sum(token.shape[1] for token in self.prefixes)
        self.positions = PositionEmbedding(model.pos_embed, prefix_tokens if self.prefix_has_positions else 0)
        self.norm = model.norm_pre

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images)
        positions = self.positions(*patches.shape[-2:])
        tokens = self.patch_norm(patches.flatten(2).mT)
        prefixes = [token.expand(len(images), -1, -1) for token in self.prefixes]
        if self.prefix_has_positions:
            tokens = torch.cat([*prefixes, tokens], dim=1) + positions
        else:
            tokens = torch.cat([*prefixes, tokens + positions], dim=1)
        normed: Tensor = self.norm(tokens)
        return normed


def _vit_head(model: Any) -> nn.Sequential:
    """Return the head of a ViT; that of a distilled DeiT averages its two classifiers."""
    if (distilled := getattr(model, "head_dist", None)) is not None:
        return nn.Sequential(model.norm, _FirstTokens(2), _MeanOfTwo(model.head, distilled))
    if model.global_pool not in ("token", "avg"):
        raise InvalidInputError(f"backbone: pools by {model.global_pool!r}; only 'token' and 'avg' are supported")
    pooling = _FirstTokens(1) if model.global_pool == "token" else _MeanOfPatches(model.num_prefix_tokens)
    return nn.Sequential(model.norm, pooling, model.fc_norm, model.head)


class _FirstTokens(nn.Module):
    """The first tokens (batch, tokens × width): those that stand for the whole picture."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, : self.count].flatten(1)


class _MeanOfPatches(nn.Module):
    """The mean of the tokens of patches (batch, width), without the prefix tokens."""

    def __init__(self, prefix_tokens: int) -> None:
        super().__init__()
        self.prefix_tokens = prefix_tokens

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:, self.prefix_tokens :].mean(dim=1)


class _MeanOfTwo(nn.Module):
    """The mean of two classifiers, each of its own token."""

    def __init__(self, classifier: nn.Module, distilled_classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.distilled_classifier = distilled_classifier

    def forward(self, features: Tensor) -> Tensor:
        of_class, of_distillation = features.chunk(2, dim=1)
        total: Tensor = self.classifier(of_class) + self.distilled_classifier(of_distillation)
        return total / 2


def _efficient_head(model: Any, *after_convolution: nn.Module) -> nn.Sequential:
    """Return MobileNetV3's head, which pools before its convolution, so that this costs next to nothing."""
    return nn.Sequential(model.global_pool, model.conv_head, *after_convolution, model.flatten, model.classifier)


def _inverted_residuals(model: Any) -> list[Block]:
    blocks = (block for stage in model.blocks for block in stage)
    return [Block(block, nn.Identity() if block.has_skip else None) for block in blocks]


def _residual(block: Any) -> Block:
    if block.downsample is None:
        return Block(block, nn.Identity())
    # A skipped block adds nothing to its shortcut, but the ReLU after the sum remains.
    rectifier = next(getattr(block, name) for name in _LAST_ACTIVATIONS if hasattr(block, name))
    return Block(block, nn.Sequential(block.downsample, rectifier))


def _residual_module(block: Any) -> Block:
    # A block with attention is two residual modules, so it has a shortcut, but no attribute for it.
    return Block(block, getattr(block, "shortcut", nn.Identity()))


def _metaformer_stage(stage: Any) -> list[Block]:
    transition = [part for part in (stage.downsample, stage.pos_emb) if not isinstance(part, nn.Identity)]
    first = [Block(nn.Sequential(*transition), None)] if transition else []
    return [*first, *(Block(block, nn.Identity()) for block in stage.blocks)]
