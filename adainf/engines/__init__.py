"""Engines that run frames along branches: `torch` is the reference, `gpu` runs on a GPU, `onnx` is faster on a CPU."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adainf.base.errors import InvalidInputError, UnavailableError
from adainf.branch import REFERENCE
from adainf.engines import devices
from adainf.engines.base import SIZES, Engine, OutOfMemoryError, UnsupportedExportError

if TYPE_CHECKING:
    from adainf.backbones import Backbone

__all__ = ["ENGINES", "SIZES", "Engine", "OutOfMemoryError", "load"]

ENGINES = ("onnx", "torch")

# Weights in half precision, plus GPU memory for libraries, pictures and recorded branches.
_BYTES_A_WEIGHT = 2
_GPU_BYTES = 512 << 20


def load(
    name: str | None,
    networks: "Mapping[str, Backbone]",
    *,
    device: str | None = None,
    threads: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Engine:
    """Return the engine `name` for a family; None picks the GPU engine, else onnx if available, else torch.

    networks: by what their branches name them, the reference among them.
    device: `cpu`, `cuda`, `cuda:1`…; None picks a usable GPU if there is one. warn: called with the reason when `load`
    falls back to a slower engine.
    Raises InvalidInputError on an unknown name or a device that the engine does not support; UnavailableError if a
    requested engine or device is missing or short of memory; OutOfMemoryError if a GPU runs out of memory, by which
    time the networks' weights are rounded to half precision; UnsupportedExportError if onnx was requested and a network
    cannot be exported.
    """
    if name not in (None, *ENGINES):
        raise InvalidInputError(f"engine {name!r}: must be one of {', '.join(ENGINES)}")
    if name == "onnx" and device not in (None, "cpu"):
        raise InvalidInputError(f"device {device!r}: the onnx engine runs on 'cpu' only")
    if name != "onnx" and device != "cpu" and (device is not None or devices.may_be_there()):
        try:
            return _load_gpu(networks, device or "cuda")
        except UnavailableError as error:
            if device is not None or isinstance(error, OutOfMemoryError):  # the weights are rounded already
                raise
            warn(f"engine: the processors recognise instead of the GPU; {error}")
    if name != "torch":
        try:
            return _load_onnx(networks, threads, warn)
        except (UnavailableError, UnsupportedExportError) as error:
            if name == "onnx":
                raise
            warn(f"engine: torch instead of the faster onnx; {error}")
    from adainf.engines.torch import TorchEngine

    return TorchEngine(networks, "cpu", threads)


def _load_gpu(networks: "Mapping[str, Backbone]", device: str) -> Engine:
    from adainf.engines.gpu.cuda import Cuda
    from adainf.engines.gpu.engine import GpuEngine

    weights = sum(parameter.numel() for network in networks.values() for parameter in network.parameters())
    with devices.used(device, room=_BYTES_A_WEIGHT * weights + _GPU_BYTES) as place:
        return GpuEngine(networks, Cuda(place))


def _load_onnx(networks: "Mapping[str, Backbone]", threads: int | None, warn: Callable[[str], None]) -> Engine:
    missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
    if missing:
        raise UnavailableError(f"not installed: {', '.join(missing)}")
    from adainf.engines.exports import Loaded
    from adainf.engines.onnx import OnnxEngine

    engine = OnnxEngine({key: Loaded(network) for key, network in networks.items()}, threads=threads, warn=warn)
    engine.warm_up([networks[REFERENCE].full])
    return engine
