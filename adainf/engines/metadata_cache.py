"""Cached metadata of loaded networks, so that a start with cached exports needs neither torch nor the weights."""

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

__all__ = ["MetadataCache"]

_MAKERS = ("torch", "timm", "open_clip_torch")


class MetadataCache:
    """The cached outline of a backbone with certain options and, optionally, a run's adapter at a strength."""

    def __init__(self, backbone: str, options: Options, run: Run | None, strength: float = 1.0) -> None:
        requested = dataclasses.replace(options, zoom=0.0)  # zoom belongs to the profile
        adapter = None if run is None else (run.manifest.files.get("adapter.safetensors"), strength)
        makers = [(package, _version(package)) for package in _MAKERS]
        key = repr((_File.model_fields["schema_"].default, backbone, requested, _identity(options), adapter, makers))
        self._path = cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        self._zoom = options.zoom

    def recall(self) -> Outline | None:
        """Return the cached outline, or None if there is none that is valid and trusted."""
        return documents.kept(self._path, lambda content: _File.model_validate_json(content).outline(self._zoom))

    def keep(self, outline: Outline) -> None:
        """Store an outline; raises InvalidInputError if the file cannot be written or would not be trusted."""
        if (why := files.stranger(self._path)) is not None:
            raise InvalidInputError(f"{self._path}: is not kept ({why})")
        write_atomically(self._path, _File.of(outline).model_dump_json(by_alias=True) + "\n")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["adainf.network/2"] = "adainf.network/2"
    name: str
    weights: str
    droppable: tuple[bool, ...]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_fraction: float
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, outline: Outline) -> "_File":
        preprocessing = outline.preprocessing
        return cls(
            name=outline.name,
            weights=outline.weights,
            droppable=outline.droppable,
            size=preprocessing.size,
            mean=preprocessing.mean,
            std=preprocessing.std,
            crop_fraction=preprocessing.crop_fraction,
            class_names=outline.class_names,
        )

    def outline(self, zoom: float) -> Outline:
        preprocessing = Preprocessing(self.size, self.mean, self.std, self.crop_fraction, zoom)
        return Outline(self.name, self.weights, self.droppable, preprocessing, self.class_names)


def _identity(options: Options) -> object:
    """Return a key that changes with the weights file; without a file, whether the weights are random."""
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
