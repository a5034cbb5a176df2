"""CLIP towers of open_clip with a zero-shot head made from label texts."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adainf.backbones import weights as weight_files
from adainf.backbones.base import Backbone, Block, Classes
from adainf.backbones.options import RANDOM, Options, seeded, unknown_name
from adainf.backbones.positions import PositionEmbedding
from adainf.backbones.timm import split
from adainf.base.errors import InvalidInputError, MissingWeightsError
from adainf.downloads.hub import from_hub, quiet

__all__ = ["ZeroShotClassifier", "build", "prompt"]

_TEXTS_AT_ONCE = 64
_TIMM_TOWERS = "fastvit_"  # MobileCLIP's
_ARTICLES = ("a ", "an ", "the ", "one ", "two ", "some ", "no ")


def build(name: str, options: Options) -> Backbone:
    """Return the image tower of open_clip's `name`, with a head that scores the texts `options.labels`.

    The text tower runs once and is freed. Raises InvalidInputError on an unknown name, on a tower that is no
    plain ViT, ResNet or FastViT, or without label texts; UnavailableError if weights cannot be fetched.
    """
    import open_clip
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if name not in open_clip.list_models():
        raise unknown_name("openclip", name, open_clip.list_models())
    if not options.labels:
        raise InvalidInputError(f"labels: none given; 'openclip/{name}' recognises the texts it is given")
    timm_tower = open_clip.get_model_config(name)["vision_cfg"].get("timm_model_name")
    if timm_tower is not None and not timm_tower.startswith(_TIMM_TOWERS):
        raise _another_tower(name)
    model, tokenizer = _load(open_clip, name, options)
    visual = model.visual
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        stem: nn.Module = _ClipStem(visual)
        blocks = [Block(block, nn.Identity()) for block in visual.transformer.resblocks]
        tower_head: nn.Module = _ViTPool(visual)
        step = visual.patch_size[0]
    elif isinstance(visual, ModifiedResNet):
        stem = _ResNetStem(visual)
        layers = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        blocks = [_bottleneck(block) for layer in layers for block in layer]
        tower_head = _AttentionPool(visual.attnpool)
        step = 32
    elif isinstance(visual, TimmModel) and (parts := split(visual.trunk)) is not None:
        stem, blocks, step = parts.stem, parts.blocks, parts.resolution_step
        tower_head = nn.Sequential(parts.head, visual.head)
    else:
        raise _another_tower(name)
    config = _preprocessing(open_clip, model, name, options)
    size = config["size"]
    return Backbone(
        f"openclip/{name}",
        stem=stem,
        blocks=blocks,
        head=nn.Sequential(
            tower_head, _Normalised(), ZeroShotClassifier(model, _embed(model, tokenizer, options.labels))
        ),
        preprocessing=options.preprocessing(
            size if isinstance(size, int) else size[0], config["mean"], config["std"], crop_fraction=1.0
        ),
        classes=Classes(options.labels),
        resolution_step=step,
    )


def _another_tower(name: str) -> InvalidInputError:
    return InvalidInputError(f"backbone 'openclip/{name}': its image tower is no plain ViT, ResNet or FastViT")


def _load(open_clip: Any, name: str, options: Options) -> tuple[Any, Any]:
    path = options.weights_file
    if path is None and options.weights != RANDOM:
        tags = open_clip.list_pretrained_tags_by_model(name)
        if not tags:
            raise MissingWeightsError(f"weights: openclip/{name} has none to fetch; give a file or 'random'")
        tag = options.weights or tags[0]
        if tag not in tags:
            raise InvalidInputError(
                f"weights {tag!r}: must be a file, 'random' or, for openclip/{name}, one of: {', '.join(tags)}"
            )
        # A model name does not determine the activation; the configuration of the weights does.
        quick_gelu = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
        return from_hub(
            f"weights {tag!r} of openclip/{name}",
            f"openclip/{name}",
            lambda: (
                open_clip.create_model(name, pretrained=tag, force_quick_gelu=quick_gelu),
                open_clip.get_tokenizer(name),
            ),
        )
    state = None if path is None else weight_files.read(path)

    def bare() -> tuple[Any, Any]:
        return open_clip.create_model(name, load_weights=False), open_clip.get_tokenizer(name)

    uses_hub = any(key.startswith("hf_") for key in open_clip.get_model_config(name)["text_cfg"])
    with seeded(), quiet():
        model, tokenizer = from_hub(f"text tower of openclip/{name}", f"openclip/{name}", bare) if uses_hub else bare()
    if state is not None:
        weight_files.fit(model, state, path, f"openclip/{name}")
    return model, tokenizer


def _preprocessing(open_clip: Any, model: Any, name: str, options: Options) -> dict[str, Any]:
    """Return the preprocessing of weights from the hub; of a file's, that of the network's first weights there."""
    config: dict[str, Any] = open_clip.get_model_preprocess_cfg(model)
    tags = open_clip.list_pretrained_tags_by_model(name)
    if options.weights_file is None or not tags:
        return config
    return config | {key: open_clip.get_pretrained_cfg(name, tags[0])[key] for key in ("mean", "std")}


def prompt(label: str) -> str:
    """Return the text tower's prompt for a label, adding an article to a label without a determiner."""
    return f"a photo of {label}." if label.lower().startswith(_ARTICLES) else f"a photo of a {label}."


@torch.inference_mode()
def _embed(model: Any, tokenizer: Any, labels: Sequence[str]) -> Tensor:
    tokens = tokenizer([prompt(label) for label in labels])
    parts = [model.encode_text(part, normalize=True) for part in tokens.split(_TEXTS_AT_ONCE)]
    return torch.cat(parts)


class _Normalised(nn.Module):
    """Embeddings (batch, width) of length 1."""

    def forward(self, embeddings: Tensor) -> Tensor:
        return functional.normalize(embeddings, dim=-1)


class ZeroShotClassifier(nn.Module):
    """Cosine similarity of normalised embeddings to each label's text, with CLIP's logit scale and bias."""

    texts: Tensor
    bias: Tensor

    def __init__(self, model: Any, texts: Tensor) -> None:
        """texts: normalised text embeddings (labels, width)."""
        super().__init__()
        bias = getattr(model, "logit_bias", None)
        self.register_buffer("texts", model.logit_scale.detach().exp() * texts)
        self.register_buffer("bias", torch.zeros(()) if bias is None else bias.detach().clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        return functional.linear(embeddings, self.texts) + self.bias


class _ClipStem(nn.Module):
    """Patch embedding, class token, position embedding and the norm before the blocks."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.patches = visual.conv1
        self.class_embedding = visual.class_embedding
        self.positions = PositionEmbedding(visual.positional_embedding, prefix_tokens=1)
        self.norm = visual.ln_pre

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images)
        height, width = patches.shape[-2:]
        tokens = torch.cat([self.class_embedding.expand(len(images), 1, -1), patches.flatten(2).mT], dim=1)
        normed: Tensor = self.norm(tokens + self.positions(height, width))
        return normed


class _ViTPool(nn.Module):
    """The norm after the blocks, pooling and projection."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.norm = visual.ln_post
        self.projection = visual.proj
        self.averages = visual.pool_type == "avg"
        self.norm_last = visual.final_ln_after_pool

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.norm_last:
            hidden = self.norm(hidden)
        pooled = hidden[:, 1:].mean(dim=1) if self.averages else hidden[:, 0]
        if self.norm_last:
            pooled = self.norm(pooled)
        return pooled if self.projection is None else pooled @ self.projection


class _ResNetStem(nn.Module):
    """The three convolutions and the pooling before the blocks."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        parts = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "conv3", "bn3", "act3", "avgpool")
        self.layers = nn.Sequential(*(getattr(visual, part) for part in parts))

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.layers(images)
        return result


def _bottleneck(block: Any) -> Block:
    # A skipped block adds nothing to its shortcut, but the ReLU after the sum remains.
    shortcut = nn.Identity() if block.downsample is None else nn.Sequential(block.downsample, block.act3)
    return Block(block, shortcut)


class _AttentionPool(nn.Module):
    """open_clip's attention pooling, with the position embedding interpolated to the input's grid.

    Only the mean token is a query. open_clip computes the outputs of all tokens and discards the others.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.positions = PositionEmbedding(pool.positional_embedding, prefix_tokens=1)
        self.query, self.key, self.value = pool.q_proj, pool.k_proj, pool.v_proj
        self.output = pool.c_proj
        self.heads = pool.num_heads

    def forward(self, hidden: Tensor) -> Tensor:
        height, width = hidden.shape[-2:]
        tokens = hidden.flatten(2).mT
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.positions(height, width)
        query, key, value = (
            projection(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, part in ((self.query, tokens[:, :1]), (self.key, tokens), (self.value, tokens))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(1))
        return result
