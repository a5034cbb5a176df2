"""Branches as ONNX models: made by PyTorch's exporter, kept on disk from one start to the next."""

import contextlib
import hashlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.overrides import TorchFunctionMode

from adainf.backbones import Backbone
from adainf.backbones.weights import fingerprint
from adainf.branch import Branch
from adainf.errors import AdainfError, one_line

__all__ = ["ExportCache", "UnsupportedExportError", "cache_folder", "export"]

_FORMAT = 1
"""To be raised when the same network would be exported otherwise than before."""

_OPSET = 17  # the first with layer normalisation as one operator


class UnsupportedExportError(AdainfError):
    """A network that cannot be written as an ONNX model; the torch engine runs it."""


def export(backbone: Backbone, branch: Branch) -> bytes:
    """An ONNX model of `branch`: `images` (1, 3, resolution, resolution) → `scores` (1, classes), both float32.

    The batch is fixed at one: with constant shapes ONNX Runtime is faster at one picture than a dynamic batch is at
    four. Raises UnsupportedExportError, naming the operator where it is one.
    """
    along = _Along(backbone, branch.keep).eval()
    images = torch.zeros(1, 3, branch.resolution, branch.resolution)
    model = io.BytesIO()
    with torch.no_grad(), _quiet():
        # Position embeddings are interpolated here, so that the exporter meets them as constants.
        along(images)
        try:
            torch.onnx.export(
                along,
                (images,),
                model,  # type: ignore[arg-type]  # the annotation is that of the newer exporter
                input_names=["images"],
                output_names=["scores"],
                opset_version=_OPSET,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise UnsupportedExportError(
                f"backbone {backbone.name}: cannot be exported to ONNX; {one_line(error, 160)}"
            ) from None
    return model.getvalue()


class _Along(nn.Module):
    """A backbone along one branch, as a module of its own."""

    def __init__(self, backbone: Backbone, keep: Sequence[bool]) -> None:
        super().__init__()
        self.backbone = backbone
        self.keep = keep

    def forward(self, images: Tensor) -> Tensor:
        with _Constant():
            result: Tensor = self.backbone(images, self.keep)
        return result


class _Constant(TorchFunctionMode):
    """Sizes are plain numbers while a network is traced, and `mT`, unknown to the exporter, is a transposition.

    Traced sizes would put the arithmetic on shapes into the model, and hide from `PositionEmbedding` that it has the
    grid's embedding already. Under such a mode `nn.MultiheadAttention` also leaves its fused kernel, which has no
    counterpart in ONNX.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func == Tensor.mT.__get__:  # type: ignore[attr-defined]
            return args[0].transpose(-2, -1)
        result = func(*args, **(kwargs or {}))
        if func in (Tensor.shape.__get__, Tensor.size):  # type: ignore[attr-defined]
            return int(result) if isinstance(result, Tensor) else torch.Size(map(int, result))
        return result


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Where an operator is unknown to it, the exporter prints the whole graph on stdout and cannot be told not to.
    log = torch._C._jit_onnx_log  # noqa: SLF001
    torch._C._jit_onnx_log = lambda *_: None  # noqa: SLF001
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=TracerWarning)
            warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based", DeprecationWarning)
            warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
            warnings.filterwarnings("ignore", "Constant folding - Only steps=1 can be constant folded", UserWarning)
            yield
    finally:
        torch._C._jit_onnx_log = log  # noqa: SLF001


def cache_folder() -> Path:
    """Where exports are kept: below systemd's `$CACHE_DIRECTORY`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.partition(":")[0]) / "onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adainf" / "onnx"


class ExportCache:
    """The exports of one backbone with certain weights, as files named by what they were made of.

    A file begins with the SHA-256 of the model behind it: after a power cut a file may have its name and size, but not
    its content.
    """

    def __init__(self, folder: Path, backbone: Backbone, runtime: str, warn: Callable[[str], None]) -> None:
        """runtime: the version of what runs the models. warn: told once where `folder` cannot be written."""
        self._folder = folder
        self._backbone = backbone
        self._maker = f"{_FORMAT} {torch.__version__} {runtime} {backbone.name} {fingerprint(backbone)}"
        self._warn = warn
        self._writes = True

    def path(self, branch: Branch) -> Path:
        """The file of `branch`, there or not."""
        return self._folder / f"{hashlib.sha256(f'{self._maker} {branch}'.encode()).hexdigest()}.export"

    def model(self, branch: Branch) -> bytes:
        """The ONNX model of `branch`, read where it was kept whole, else made and kept."""
        path = self.path(branch)
        if (kept := _read(path)) is not None:
            return kept
        model = export(self._backbone, branch)
        if self._writes:
            try:
                _write(path, model)
            except OSError as error:
                self._writes = False
                self._warn(f"{self._folder}: exports cannot be kept here, so every start makes them ({error.strerror})")
        return model


def _read(path: Path) -> bytes | None:
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    digest, model = content[:32], content[32:]
    return bytes(model) if hashlib.sha256(model).digest() == digest else None


def _write(path: Path, model: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(model).digest())
            file.write(model)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
