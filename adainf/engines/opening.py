"""Opening an engine for a backbone's name, from cached metadata and exports if possible."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adainf import engines
from adainf.backbones.defaults import default_weights
from adainf.backbones.options import Options
from adainf.base.errors import InvalidInputError
from adainf.branch import Branch
from adainf.engines import devices
from adainf.engines.base import Adapted, Engine, NetworkPart, OutOfMemoryError
from adainf.engines.metadata_cache import CachedMetadata, MetadataCache
from adainf.engines.processor import processor_name, usable_processors
from adainf.outline import Outline
from adainf.profile import Profile
from adainf.run import Run

if TYPE_CHECKING:
    from adainf.backbones import Backbone
    from adainf.engines.onnx import OnnxEngine

__all__ = ["Opening"]


@dataclass(frozen=True)
class Opening:
    """A request for an engine.

    name: None picks the best available engine, as `engines.load` does. run: the source of the adapter that the branches
    `runs_adapted` use at `strength`, and that `look` can use. warn: called with every deviation from the request.
    """

    name: str | None
    backbone: str
    options: Options
    run: Run | None = None
    strength: float = 1.0
    runs_adapted: Collection[Branch] = ()
    device: str | None = None
    threads: int | None = None
    warn: Callable[[str], None] = lambda _: None

    @classmethod
    def of(
        cls,
        profile: Profile,
        run: Run | None,
        options: Options,
        *,
        name: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> "Opening":
        """Return a request for a profile's network and its run, which supply what `options` leaves out.

        name: None picks the engine that `adainf measure` found faster on this processor.
        """
        completed = replace(
            options,
            weights=options.weights or default_weights(profile.backbone),
            size=options.size or (None if run is None else run.manifest.native_resolution),
            zoom=profile.zoom,
        )
        faster = profile.faster_engine(processor_name(), threads or usable_processors())
        return cls(
            name or ("torch" if faster == "torch" else None),  # onnx is the default on a CPU
            profile.backbone,
            completed,
            run=run if profile.adapted or profile.scheduled else None,
            strength=profile.strength,
            runs_adapted=profile.adapted,
            device=device,
            threads=threads,
            warn=warn,
        )

    @property
    def may_be_onnx(self) -> bool:
        """Whether `engines.load` could pick onnx, decided without importing torch."""
        if self.name not in (None, "onnx") or self.device not in (None, "cpu") or find_spec("onnxruntime") is None:
            return False
        return self.name == "onnx" or not self.tries_gpu

    @property
    def tries_gpu(self) -> bool:
        """Whether `engines.load` tries a GPU first, decided without importing torch."""
        if self.name == "onnx" or self.device == "cpu":
            return False
        return self.device is not None or devices.may_be_there()

    @property
    def on_processors(self) -> "Opening":
        """The same request for the onnx engine on the CPU, even if there is a GPU."""
        return replace(self, name="onnx", device="cpu")

    @property
    def on_gpu(self) -> "Opening":
        """The same request for a GPU, without fallback to the CPU."""
        return replace(self, device=self.device or "cuda")

    def recall(self) -> "OnnxEngine | None":
        """Return the onnx engine if the metadata of its network is cached, else None.

        Torch is not imported and no weights are read, now or later, unless an export is missing.
        """
        metadata = self._memory.recall() if self.may_be_onnx else None
        if metadata is None:
            return None
        from adainf.engines.onnx import OnnxEngine

        return OnnxEngine(
            _KnownNetwork(metadata.base, lambda: self._base),
            adapted=None if metadata.adapted is None else _KnownNetwork(metadata.adapted, lambda: self._with_adapter),
            runs_adapted=self.runs_adapted,
            threads=self.threads,
            warn=self.warn,
        )

    def open(self) -> Engine:
        """Return the engine, recalled or loaded; raises what `backbones.load` and `engines.load` raise."""
        return self.recall() or self._load()

    def _load(self) -> Engine:
        adapted = None if self._adapter is None else Adapted(self._with_adapter, frozenset(self.runs_adapted))
        try:
            engine = engines.load(
                self.name, self._base, adapted=adapted, device=self.device, threads=self.threads, warn=self.warn
            )
        except OutOfMemoryError as error:
            if self.device is not None:
                raise
            self.warn(f"engine: the processors recognise instead of the GPU; {error}")
            return replace(self, device="cpu").open()  # re-reads the weights, which were rounded for the GPU
        if engine.name == "onnx":
            try:
                self._memory.keep(CachedMetadata(engine.outline, engine.adapted_outline))
            except InvalidInputError as error:
                self.warn(f"{error}; so every start loads the network")
        return engine

    @property
    def _adapter(self) -> Run | None:
        return None if self.run is None or self.run.adapter_path is None else self.run

    @property
    def _memory(self) -> MetadataCache:
        return MetadataCache(self.backbone, self.options, self._adapter, self.strength)

    @cached_property
    def _base(self) -> "Backbone":
        from adainf.backbones import load

        return load(self.backbone, self.options)

    @cached_property
    def _with_adapter(self) -> "Backbone":
        from adainf.backbones.adapters import adapted

        if self._adapter is None:
            raise InvalidInputError("run: none is given, but branches are to run adapted")
        return adapted(self._base, self._adapter, self.strength)


class _KnownNetwork:
    """An `Exportable` with cached metadata that loads its network only for a missing export."""

    def __init__(self, outline: Outline, open_network: "Callable[[], Backbone]") -> None:
        self.outline = outline
        self._open = open_network

    def export(self, what: Branch | NetworkPart) -> bytes:
        from adainf.engines.exports import export

        return export(self._open(), what)
