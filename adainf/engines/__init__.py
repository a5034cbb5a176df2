"""Engines: what runs a frame along a branch. `torch` is the reference, `gpu` a GPU's; `onnx` is faster on a CPU."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.branch import Branch
from adainf.engines import devices
from adainf.engines.base import SIZES, Adapted, Engine, OutOfMemoryError, UnsupportedExportError

if TYPE_CHECKING:
    from adainf.backbones import Backbone

__all__ = ["ENGINES", "SIZES", "Adapted", "Engine", "OutOfMemoryError", "load"]

ENGINES = ("onnx", "torch")

# Half precision, and what libraries, pictures and recorded branches take beside the weights.
_BYTES_A_WEIGHT = 2
_GPU_BYTES = 512 << 20


def load(
    name: str | None,
    backbone: "Backbone",
    *,
    adapted: Adapted | None = None,
    device: str | None = None,
    threads: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Engine:
    """The engine `name` for `backbone`; None takes a GPU's, else onnx where it can be had, else torch.

    adapted: another set of weights, and the branches that run with it.
    device: `cpu`, `cuda`, `cuda:1`…; None takes a GPU where one can be used. warn: told where the choice fell on the
    slower engine, and why.
    Raises InvalidInputError on an unknown name or a device the engine has not, UnavailableError where an engine or
    device that was asked for is missing or has too little memory, OutOfMemoryError where a GPU runs out of memory, by
    when the backbone's weights are rounded, UnsupportedExportError where onnx was asked for and the backbone cannot be
    exported.
    """
    if name not in (None, *ENGINES):
        raise InvalidInputError(f"engine {name!r}: must be one of {', '.join(ENGINES)}")
    if name == "onnx" and device not in (None, "cpu"):
        raise InvalidInputError(f"device {device!r}: the onnx engine runs on 'cpu' only")
    if name != "onnx" and device != "cpu" and (device is not None or devices.may_be_there()):
        try:
            return _load_gpu(backbone, adapted, device or "cuda")
        except UnavailableError as error:
            if device is not None or isinstance(error, OutOfMemoryError):  # which has rounded the weights already
                raise
            warn(f"engine: the processors recognise instead of the GPU; {error}")
    if name != "torch":
        try:
            return _load_onnx(backbone, adapted, threads, warn)
        except (UnavailableError, UnsupportedExportError) as error:
            if name == "onnx":
                raise
            warn(f"engine: torch instead of the faster onnx; {error}")
    from adainf.engines.torch import TorchEngine

    return TorchEngine(backbone, "cpu", threads, adapted)


def _load_gpu(backbone: "Backbone", adapted: Adapted | None, device: str) -> Engine:
    from adainf.engines.gpu.cuda import Cuda
    from adainf.engines.gpu.engine import GpuEngine

    networks = [backbone] if adapted is None else [backbone, adapted.backbone]
    weights = sum(parameter.numel() for network in networks for parameter in network.parameters())
    with devices.used(device, room=_BYTES_A_WEIGHT * weights + _GPU_BYTES) as place:
        return GpuEngine(backbone, Cuda(place), adapted)


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
