"""From a backbone's name to an engine that runs it, by the shortest way."""

from collections.abc import Callable, Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from adainf import engines
from adainf.backbones.options import Options
from adainf.branch import Branch
from adainf.engines.base import Adapted, Engine, Part
from adainf.engines.memory import Memory, Remembered
from adainf.errors import InvalidInputError
from adainf.outline import Outline
from adainf.run import Run

if TYPE_CHECKING:
    from adainf.backbones import Backbone

__all__ = ["open_engine"]

# NVIDIA's driver, a Jetson's, one below WSL, AMD's.
_GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")


def open_engine(
    name: str | None,
    backbone: str,
    options: Options,
    *,
    run: Run | None = None,
    strength: float = 1.0,
    runs_adapted: Collection[Branch] = (),
    device: str | None = None,
    threads: int | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Engine:
    """The engine `name` (None: the best there is, as `engines.load` tells) for `backbone`.

    run: whose adapter, at this strength, the branches `runs_adapted` run with, and what is looked at first where that
    is asked for.
    What the onnx engine once ran is remembered: from then on neither torch is imported nor are weights read, unless an
    export is missing. Raises what `backbones.load` and `engines.load` raise.
    """

    @cache
    def base() -> "Backbone":
        from adainf.backbones import load

        return load(backbone, options)

    @cache
    def with_adapter() -> "Backbone":
        from adainf.backbones.adapters import adapted

        if run is None:
            raise InvalidInputError("run: none is given, but branches are to run adapted")
        return adapted(base(), run, strength)

    if run is not None and run.adapter_path is None:
        run = None
    memory = Memory(backbone, options, run, strength)
    if _may_be_onnx(name, device) and (remembered := memory.recall()) is not None:
        from adainf.engines.onnx import OnnxEngine

        return OnnxEngine(
            _Known(remembered.base, base),
            adapted=None if remembered.adapted is None else _Known(remembered.adapted, with_adapter),
            runs_adapted=runs_adapted,
            threads=threads,
            warn=warn,
        )
    adapted = None if run is None else Adapted(with_adapter(), frozenset(runs_adapted))
    engine = engines.load(name, base(), adapted=adapted, device=device, threads=threads, warn=warn)
    if engine.name == "onnx":
        try:
            memory.keep(Remembered(engine.outline, engine.adapted_outline))
        except InvalidInputError as error:
            warn(f"{error}; so every start loads the network")
    return engine


class _Known:
    """A network whose outline is known before it is opened."""

    def __init__(self, outline: Outline, open_network: "Callable[[], Backbone]") -> None:
        self.outline = outline
        self._open = open_network

    def export(self, what: Branch | Part) -> bytes:
        from adainf.engines.exports import export

        return export(self._open(), what)


def _may_be_onnx(name: str | None, device: str | None) -> bool:
    """Whether `engines.load` could take onnx; told without torch, which need not be imported to know."""
    if name not in (None, "onnx") or device not in (None, "cpu") or find_spec("onnxruntime") is None:
        return False
    return name == "onnx" or device == "cpu" or not any(Path(node).exists() for node in _GPU_NODES)
