"""Opening an engine for the networks of a profile, from cached metadata and exports if possible."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from adainf import engines
from adainf.backbones.defaults import default_weights, how_to_get
from adainf.backbones.options import Options
from adainf.base.errors import InvalidInputError, MissingWeightsError, UnavailableError
from adainf.branch import REFERENCE, Branch
from adainf.engines import devices
from adainf.engines.base import Engine, NetworkPart, OutOfMemoryError
from adainf.engines.metadata_cache import MetadataCache
from adainf.engines.processor import processor_name, usable_processors
from adainf.outline import Outline, check_same_classes
from adainf.profile import Network, Profile
from adainf.run import Run
from adainf.schedulers import wanted_networks

if TYPE_CHECKING:
    from adainf.backbones import Backbone
    from adainf.engines.onnx import OnnxEngine

__all__ = ["NetworkSource", "Opening", "sources"]


@dataclass(frozen=True)
class NetworkSource:
    """Where a network comes from: a backbone with certain options and, optionally, a run's adapter at a strength."""

    name: str
    backbone: str
    options: Options
    run: Run | None = None
    strength: float = 1.0

    @cached_property
    def network(self) -> "Backbone":
        """The network, loaded on first use; raises what `backbones.load` raises."""
        from adainf.backbones import load

        network = load(self.backbone, self.options)
        if self.run is None:
            return network
        from adainf.backbones.adapters import adapted

        return adapted(network, self.run, self.strength)

    @property
    def title(self) -> str:
        """The network's name and its backbone, for people."""
        return f"{self.name} ({self.backbone})"

    @property
    def remedy(self) -> str:
        """What to do where the weights are missing."""
        file = self.options.weights_file
        return how_to_get(self.backbone) if file is None else f"install the file {file}"

    @property
    def metadata(self) -> MetadataCache:
        """The place of the network's cached outline."""
        return MetadataCache(self.backbone, self.options, self.run, self.strength)


@dataclass(frozen=True)
class Opening:
    """A request for an engine.

    name: None picks the best available engine, as `engines.load` does. networks: by what their branches name them, the
    reference among them. warn: called with every deviation from the request.
    """

    name: str | None
    networks: Mapping[str, NetworkSource]
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
        weights: Mapping[str, str] | None = None,
        name: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> "Opening":
        """Return a request for those of a profile's networks that its lookup table uses.

        options: of the reference, and of other networks with its backbone; the profile and the run supply what they
        leave out. weights: of other networks, by name. name: None picks the engine that `adainf measure` found faster
        on this processor.
        """
        faster = profile.faster_engine(processor_name(), threads or usable_processors())
        wanted = wanted_networks(profile)
        return cls(
            name or ("torch" if faster == "torch" else None),  # onnx is the default on a CPU
            {key: source for key, source in sources(profile, run, options, weights or {}).items() if key in wanted},
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

    def of_networks(self, keys: Iterable[str]) -> "Opening":
        """Return the same request for these of the networks."""
        return replace(self, networks={key: self.networks[key] for key in keys})

    def recall(self) -> "OnnxEngine | None":
        """Return the onnx engine if the metadata of all its networks are cached, else None.

        Torch is not imported and no weights are read, now or later, unless an export is missing.
        """
        if not self.may_be_onnx:
            return None
        outlines = {key: source.metadata.recall() for key, source in self.networks.items()}
        known = {key: _KnownNetwork(found, self.networks[key]) for key, found in outlines.items() if found is not None}
        if len(known) < len(self.networks):
            return None
        check_same_classes({self.networks[key].name: network.outline.class_names for key, network in known.items()})
        from adainf.engines.onnx import OnnxEngine

        return OnnxEngine(known, threads=self.threads, warn=self.warn)

    def open(self) -> Engine:
        """Return the engine, recalled or loaded.

        A network other than the reference whose weights are missing is left out with a warning that says how to get
        them; the engine's `outlines` name the others. Raises what `backbones.load` and `engines.load` raise, and
        InvalidInputError if the networks' classes differ.
        """
        return self.recall() or self._load()

    def _load(self) -> Engine:
        networks: dict[str, Backbone] = {}
        for key, source in self.networks.items():
            try:
                networks[key] = source.network
            except (MissingWeightsError, UnavailableError) as error:
                if key == REFERENCE:
                    raise
                self.warn(f"network {source.name}: is left out; {source.remedy} ({error})")
        check_same_classes(
            {source.name: networks[key].classes.names for key, source in self.networks.items() if key in networks}
        )
        try:
            engine = engines.load(self.name, networks, device=self.device, threads=self.threads, warn=self.warn)
        except OutOfMemoryError as error:
            if self.device is not None:
                raise
            self.warn(f"engine: the processors recognise instead of the GPU; {error}")
            # Anew, since the weights were rounded for the GPU.
            sources = {key: replace(self.networks[key]) for key in networks}
            return replace(self, networks=sources, device="cpu").open()
        if engine.name == "onnx":
            try:
                for key, outline in engine.outlines.items():
                    self.networks[key].metadata.keep(outline)
            except InvalidInputError as error:
                self.warn(f"{error}; so every start loads the network")
        return engine


def sources(
    profile: Profile, run: Run | None, options: Options, weights: Mapping[str, str]
) -> dict[str, NetworkSource]:
    """Return where each of a profile's networks comes from, by what its branches name it.

    options, weights: as in `Opening.of`. Raises InvalidInputError on weights of a network that the profile lacks.
    """
    names = [network.name for network in profile.networks]
    for name in sorted(set(weights) - set(names)):
        raise InvalidInputError(f"weights of network {name}: the profile's networks are {', '.join(names)}")
    return {key: _source(network, profile, run, options, weights) for key, network in profile.of_key.items()}


def _source(
    network: Network, profile: Profile, run: Run | None, options: Options, weights: Mapping[str, str]
) -> NetworkSource:
    given = options if network.backbone == profile.reference.backbone else Options(labels=options.labels)
    size = given.size
    if size is None and (run is not None or network is not profile.reference):
        size = network.native_resolution
    named = weights.get(network.name)
    if named is None and network.adapter is not None:  # an adapter changes the weights of another network
        bases = (base.name for base in profile.networks if base.backbone == network.backbone)
        named = next((weights[base] for base in bases if base in weights), None)
    completed = replace(
        given, weights=named or given.weights or default_weights(network.backbone), size=size, zoom=network.zoom
    )
    source = NetworkSource(network.name, network.backbone, completed)
    return source if network.adapter is None else replace(source, run=run, strength=network.strength)


class _KnownNetwork:
    """An `Exportable` with a cached outline that loads its network only for a missing export."""

    def __init__(self, outline: Outline, source: NetworkSource) -> None:
        self.outline = outline
        self._source = source

    def export(self, what: Branch | NetworkPart) -> bytes:
        from adainf.engines.exports import export

        return export(self._source.network, what)
