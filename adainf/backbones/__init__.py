"""Pretrained networks as stem → blocks → head. Each family is a module with a `build` function, registered here."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from adainf.backbones.options import RANDOM, Options
from adainf.base.errors import InvalidInputError

if TYPE_CHECKING:
    from adainf.backbones.base import Backbone, Block, Classes

__all__ = ["FAMILIES", "RANDOM", "Backbone", "Block", "Classes", "Options", "load"]

FAMILIES = ("cifar", "openclip", "timm")


def load(name: str, options: Options | None = None) -> "Backbone":
    """Return the backbone `FAMILY/NAME`, such as `timm/tf_efficientnet_lite0`, ready for inference on the CPU.

    Raises InvalidInputError on an unknown family or name, or if weights or labels do not fit.
    """
    family, slash, rest = name.partition("/")
    if not slash or family not in FAMILIES:
        raise InvalidInputError(
            f"backbone {name!r}: must be FAMILY/NAME with one of the families {', '.join(FAMILIES)}"
        )
    build: Callable[[str, Options], Backbone] = import_module(f"adainf.backbones.{family}").build
    return build(rest, options or Options())


def __getattr__(name: str) -> Any:
    # Lazy, because these import torch, which a daemon with cached exports never needs.
    if name in ("Backbone", "Block", "Classes"):
        return getattr(import_module("adainf.backbones.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
