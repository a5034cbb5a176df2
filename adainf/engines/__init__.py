"""Engines: what runs a frame along a branch. `torch` is the reference, `gpu` a GPU's; `onnx` is faster on a CPU."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adainf.branch import Branch
from adainf.engines.base import SIZES, Adapted, Engine, OutOfMemoryError, UnsupportedExportError
from adainf.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from adainf.backbones import Backbone

__all__ = ["ENGINES", "SIZES", "Adapted", "Engine", "OutOfMemoryError", "load"]

ENGINES = ("onnx", "torch")


def load(
    name: str | None,
    backbone: "Backbone",
    *,
    adapted: Adapted | None = None,
    device: str | None = None,
    threads: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Engine:
    """The engine `name` for `backbone`; None takes torch on a GPU, else onnx where it can be had, else torch.

    adapted: another set of weights, and the branches that run with it.
    device: `cpu`, `cuda`, `cuda:1`…; None takes a GPU where there is one. warn: told where the choice fell on the
    slower engine, and why.
    Raises InvalidInputError on an unknown name or a device the engine has not, UnavailableError where an engine or
    device that was asked for is missing, UnsupportedExportError where onnx was asked for and the backbone cannot be
    exported.
    """
    if name not in (None, *ENGINES):
        raise InvalidInputError(f"engine {name!r}: must be one of {', '.join(ENGINES)}")
    if name == "onnx" and device not in (None, "cpu"):
        raise InvalidInputError(f"device {device!r}: the onnx engine runs on 'cpu' only")
    if name == "onnx" or (name is None and not _wants_gpu(device)):
        try:
            return _load_onnx(backbone, adapted, threads, warn)
        except (UnavailableError, UnsupportedExportError) as error:
            if name == "onnx":
                raise
            warn(f"engine: torch instead of the faster onnx; {error}")
            device = "cpu"
    from adainf.engines.torch import TorchEngine, device_named

    place = device_named(device)
    if place.type != "cuda":
        return TorchEngine(backbone, device, threads, adapted)
    from adainf.engines.cuda import Cuda
    from adainf.engines.gpu import GpuEngine

    return GpuEngine(backbone, Cuda(place), adapted)


def _wants_gpu(device: str | None) -> bool:
    import torch

    return torch.cuda.is_available() if device is None else device != "cpu"


def _load_onnx(
    backbone: "Backbone", adapted: Adapted | None, threads: int | None, warn: Callable[[str], None]
) -> Engine:
    missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")
    from adainf.engines.exports import Loaded
    from adainf.engines.onnx import OnnxEngine

    other, branches = (None, frozenset[Branch]()) if adapted is None else (Loaded(adapted.backbone), adapted.branches)
    engine = OnnxEngine(Loaded(backbone), adapted=other, runs_adapted=branches, threads=threads, warn=warn)
    engine.warm_up([backbone.full])
    return engine
