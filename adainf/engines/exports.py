"""Export of branches and network parts to ONNX by PyTorch's exporter."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.overrides import TorchFunctionMode

from adainf.backbones import Backbone
from adainf.backbones.weights import outline
from adainf.base.errors import one_line
from adainf.branch import Branch
from adainf.engines.base import NetworkPart, UnsupportedExportError

__all__ = ["Loaded", "export"]

_OPSET = 17  # the first with layer normalisation as a single operator


class Loaded:
    """A backbone in memory as an `Exportable` for the ONNX engine."""

    def __init__(self, backbone: Backbone) -> None:
        self.outline = outline(backbone)
        self._backbone = backbone

    def export(self, what: Branch | NetworkPart) -> bytes:
        """Return the ONNX model of a branch or part; see `export`."""
        return export(self._backbone, what)


def export(backbone: Backbone, what: Branch | NetworkPart) -> bytes:
    """Return the ONNX model of a branch or a part of the network, as `Exportable.export` specifies.

    The batch size is fixed at one: ONNX Runtime is faster at one picture with constant shapes than a dynamic batch is
    at four. Raises UnsupportedExportError, which names the unsupported operator if that is the cause.
    """
    before = torch.zeros(1, 3, what.resolution, what.resolution)
    if isinstance(what, Branch):
        return _exported(_AlongBranch(backbone, what.keep), before, "images", ["scores", "features"])
    if what.start:
        with torch.no_grad():
            before = _OnePart(backbone, NetworkPart(what.resolution, 0, what.start)).hidden(before)
    return _exported(_OnePart(backbone, what), before, "before", ["after"])


def _exported(module: "_AlongBranch | _OnePart", before: Tensor, input_name: str, output_names: list[str]) -> bytes:
    module = module.eval()
    model = io.BytesIO()
    with torch.no_grad(), _quiet():
        # Interpolate the position embeddings now, so that the exporter sees them as constants.
        module(before)
        try:
            torch.onnx.export(
                module,
                (before,),
                model,  # type: ignore[arg-type]  # the annotation is that of the newer exporter
                input_names=[input_name],
                output_names=output_names,
                opset_version=_OPSET,
                dynamo=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise UnsupportedExportError(
                f"backbone {module.backbone.name}: cannot be exported to ONNX; {one_line(error, 160)}"
            ) from None
    return model.getvalue()


class _AlongBranch(nn.Module):
    """A backbone restricted to one branch."""

    def __init__(self, backbone: Backbone, keep: Sequence[bool]) -> None:
        super().__init__()
        self.backbone = backbone
        self.keep = keep

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (1, classes) and pooled features (1, width)."""
        with _Constant():
            features = self.backbone.features_each(images, [self.keep])
            return self.backbone.classified(features), features


class _OnePart(nn.Module):
    """A single part of a backbone."""

    def __init__(self, backbone: Backbone, part: NetworkPart) -> None:
        super().__init__()
        self.backbone = backbone
        self.part = part

    def forward(self, before: Tensor) -> Tensor:
        with _Constant():
            hidden = self.hidden(before)
            return self.backbone.scores(hidden) if self.part.stop == len(self.backbone.blocks) else hidden

    def hidden(self, before: Tensor) -> Tensor:
        """Return the output of the part's last block."""
        hidden = before if self.part.start else self.backbone.stem(before)
        for index in range(self.part.start, self.part.stop):
            hidden = self.backbone.step(index, hidden, self.part.kept or index > self.part.start)
        return hidden


class _Constant(TorchFunctionMode):
    """A mode for tracing in which sizes are plain integers, and `mT`, unknown to the exporter, is a transposition.

    Traced sizes would add shape arithmetic to the model, and `PositionEmbedding` would miss the embedding it has
    cached for the grid. Any such mode also makes `nn.MultiheadAttention` avoid its fused kernel, which has no ONNX
    counterpart.
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
    # On an unknown operator the exporter prints the whole graph to stdout, and no option turns that off.
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
