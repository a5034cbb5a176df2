"""Vision transformers, ResNets and EfficientNets from timm."""

from typing import Any

import torch
from torch import Tensor, nn

from adainf.backbones import weights as weight_files
from adainf.backbones.base import Backbone, Block, Classes
from adainf.backbones.options import RANDOM, Options, seeded, unknown_name
from adainf.backbones.positions import PositionEmbedding
from adainf.base.errors import InvalidInputError, MissingWeightsError
from adainf.downloads.hub import from_hub

__all__ = ["build", "imagenet_classes"]

_IMAGENET_CLASSES = 1000
_CONVOLUTIONAL_STEP = 16
# Names in a bottleneck, a basic block, a selective-kernel block and a Res2Net block.
_LAST_ACTIVATIONS = ("act3", "act2", "act", "relu")


def build(name: str, options: Options) -> Backbone:
    """Return timm's `name`: a ViT or DeiT, a ResNet or an EfficientNet.

    Raises InvalidInputError on an unknown name or another kind of network, or if weights do not fit; UnavailableError
    if weights cannot be fetched.
    """
    import timm
    from timm.layers import PatchEmbed
    from timm.models.efficientnet import EfficientNet
    from timm.models.resnet import ResNet
    from timm.models.vision_transformer import VisionTransformer

    if not timm.is_model(name):
        raise unknown_name("timm", name, timm.list_models())
    model = _load(timm, name, options)
    step = _CONVOLUTIONAL_STEP
    if not model.num_classes:
        raise InvalidInputError(f"weights of timm/{name}: have no classifier, so nothing to recognise with")
    if (
        isinstance(model, VisionTransformer)
        and isinstance(model.patch_embed, PatchEmbed)
        and model.pos_embed is not None
        and model.attn_pool is None
    ):
        stem: nn.Module = _ViTStem(model)
        blocks = [Block(block, nn.Identity()) for block in model.blocks]
        head: nn.Module = _ViTHead(model)
        step = model.patch_embed.patch_size[0]
    elif isinstance(model, EfficientNet):
        stem = nn.Sequential(model.conv_stem, model.bn1)
        blocks = [_inverted_residual(block) for stage in model.blocks for block in stage]
        head = nn.Sequential(model.conv_head, model.bn2, model.global_pool, model.classifier)
    elif isinstance(model, ResNet):
        stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
        layers = (model.layer1, model.layer2, model.layer3, model.layer4)
        blocks = [_residual(block) for layer in layers for block in layer]
        head = nn.Sequential(model.global_pool, model.fc)
    else:
        raise InvalidInputError(
            f"backbone 'timm/{name}': is a {type(model).__name__}; must be a plain ViT or DeiT with learnt positions, "
            "a ResNet or an EfficientNet"
        )
    config = model.pretrained_cfg
    return Backbone(
        f"timm/{name}",
        stem=stem,
        blocks=blocks,
        head=head,
        preprocessing=options.preprocessing(
            config["input_size"][-1], config["mean"], config["std"], config.get("crop_pct") or 1.0
        ),
        classes=_classes(model.num_classes, options.labels),
        resolution_step=step,
    )


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
    classes = weight_files.head_size(state, ("classifier", "fc", "head", "_fc"))
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


class _ViTHead(nn.Module):
    """The norm after the blocks, pooling and the classifier; a distilled DeiT averages its two classifiers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.norm = model.norm
        self.feature_norm = model.fc_norm
        self.classifier = model.head
        self.distilled_classifier = getattr(model, "head_dist", None)
        self.pooling = model.global_pool
        self.prefix_tokens = model.num_prefix_tokens
        if self.pooling not in ("token", "avg"):
            raise InvalidInputError(f"backbone: pools by {self.pooling!r}; only 'token' and 'avg' are supported")

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.norm(hidden)
        if self.distilled_classifier is not None:
            total: Tensor = self.classifier(hidden[:, 0]) + self.distilled_classifier(hidden[:, 1])
            return total / 2
        pooled = hidden[:, 0] if self.pooling == "token" else hidden[:, self.prefix_tokens :].mean(dim=1)
        scores: Tensor = self.classifier(self.feature_norm(pooled))
        return scores


def _inverted_residual(block: Any) -> Block:
    return Block(block, nn.Identity() if block.has_skip else None)


def _residual(block: Any) -> Block:
    if block.downsample is None:
        return Block(block, nn.Identity())
    # A skipped block adds nothing to its shortcut, but the ReLU after the sum remains.
    rectifier = next(getattr(block, name) for name in _LAST_ACTIVATIONS if hasattr(block, name))
    return Block(block, nn.Sequential(block.downsample, rectifier))
