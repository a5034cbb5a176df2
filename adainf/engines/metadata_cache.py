"""What is remembered of loaded networks, so that a start whose exports are at hand needs neither torch nor weights."""

import dataclasses
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from adainf.backbones.options import RANDOM, Options
from adainf.base import documents, files
from adainf.base.errors import InvalidInputError
from adainf.engines.cache import cache_folder
from adainf.outline import Outline
from adainf.preprocessing import Preprocessing
from adainf.profile import write_atomically
from adainf.run import Run

__all__ = ["CachedMetadata", "MetadataCache"]

_MAKERS = ("torch", "timm", "open_clip_torch")


@dataclasses.dataclass(frozen=True, slots=True)
class CachedMetadata:
    """A network that the ONNX engine ran. adapted: the same with a run's adapter, where one was asked for."""

    base: Outline
    adapted: Outline | None


class MetadataCache:
    """Where one backbone with certain options, and perhaps a run, is remembered."""

    def __init__(self, backbone: str, options: Options, run: Run | None, strength: float = 1.0) -> None:
        asked = dataclasses.replace(options, zoom=0.0)  # a matter of the profile
        adapter = None if run is None else (run.manifest.files.get("adapter.safetensors"), strength)
        makers = [(package, _version(package)) for package in _MAKERS]
        told = repr((_File.model_fields["schema_"].default, backbone, asked, _identity(options), adapter, makers))
        self._path = cache_folder() / f"{hashlib.sha256(told.encode()).hexdigest()}.json"
        self._zoom = options.zoom

    def recall(self) -> CachedMetadata | None:
        """What is remembered, or None where there is nothing of use."""
        return documents.kept(self._path, lambda told: _File.model_validate_json(told).remembered(self._zoom))

    def keep(self, remembered: CachedMetadata) -> None:
        """Remember; raises InvalidInputError where it cannot be written, or would not be believed."""
        if (why := files.stranger(self._path)) is not None:
            raise InvalidInputError(f"{self._path}: is not kept ({why})")
        write_atomically(self._path, _File.of(remembered).model_dump_json(by_alias=True) + "\n")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["adainf.network/1"] = "adainf.network/1"
    name: str
    weights: str
    adapted: str | None
    droppable: tuple[bool, ...]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, remembered: CachedMetadata) -> "_File":
        base = remembered.base
        seen = base.preprocessing
        return cls(
            name=base.name,
            weights=base.weights,
            adapted=remembered.adapted and remembered.adapted.weights,
            droppable=base.droppable,
            size=seen.size,
            mean=seen.mean,
            std=seen.std,
            crop_fraction=seen.crop_fraction,
            class_names=base.class_names,
        )

    def remembered(self, zoom: float) -> CachedMetadata:
        seen = Preprocessing(self.size, self.mean, self.std, self.crop_fraction, zoom)
        base = Outline(self.name, self.weights, self.droppable, seen, self.class_names)
        return CachedMetadata(base, None if self.adapted is None else dataclasses.replace(base, weights=self.adapted))


def _identity(options: Options) -> object:
    """What tells whether the weights are still those that were loaded; without a file, that none is."""
    path = options.weights_file
    if path is None:
        return options.weights == RANDOM
    status = path.stat() if files.is_there(path) else None
    return str(Path(path).resolve()), status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
