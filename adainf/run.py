"""Runs: the result of training a backbone, as a folder without the base weights."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adainf.base import documents, files
from adainf.base.errors import InvalidInputError, one_line
from adainf.profile import Profile, write_atomically

__all__ = ["SCHEMA", "AdapterSection", "BatchNorm", "Manifest", "Run", "Training", "digest", "now"]

SCHEMA = "adainf.run/1"
_MANIFEST = "manifest.json"

BatchNorm = Literal["frozen", "train"]
"""Whether batch norm's statistics stay frozen at the base's or move during training."""

Count = Annotated[int, Field(ge=0)]


class _RunModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AdapterSection(_RunModel):
    """How the base weights were modified. kind: `lora` (low-rank updates), `full` (every weight), `none`."""

    kind: Literal["lora", "full", "none"]
    rank: Annotated[int, Field(ge=1)] | None = None
    alpha: Annotated[float, Field(gt=0)] | None = None


class Training(_RunModel):
    """Everything needed to repeat the run, and its outcome.

    mix: each source's share of the pictures. ceiling: the most MACs of a sampled branch, as a fraction of the full
    branch's. branches: those sampled from; none means all within the ceiling. teacher: the backbone that taught; None
    means the run's own. least_area: smallest share of its picture
    that a view covers. zoom: how much less of a view smaller inputs showed.
    loss, agreement (with the full model, 0..1): over about the last fifty steps.
    """

    recipe: Literal["distil", "paper"]
    sources: tuple[str, ...]
    images: Count
    labelled: bool
    resolutions: tuple[int, ...]
    steps: Count
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    mix: tuple[float, ...] = ()
    ceiling: float | None = None
    branches: tuple[str, ...] = ()
    teacher: str | None = None
    least_area: float | None = None
    zoom: float = 0.0
    batch_norm: BatchNorm = "frozen"
    seed: Count
    seconds: Annotated[float, Field(ge=0)]
    loss: float
    agreement: float | None = None
    created: str
    version: str


class Manifest(_RunModel):
    """The content of `manifest.json`.

    weights: fingerprint of the base weights, without which the run is useless. files: SHA-256 of the other files.
    """

    schema_: Literal["adainf.run/1"] = Field("adainf.run/1", alias="schema")
    backbone: str
    weights: str
    native_resolution: Annotated[int, Field(ge=1)]
    adapter: AdapterSection
    scheduler: Literal["none", "paper-hard", "paper-soft", "correctness"]
    training: Training
    files: dict[str, str]


class Run:
    """A run's folder: `manifest.json`, and optionally `{adapter,scheduler}.safetensors` and `profile.json`.

    `adainf calibrate --run` writes the profile, which belongs to the folder, not to the manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @property
    def profile_path(self) -> Path:
        """The path of the run's profile, which exists once the run is calibrated."""
        return self.folder / "profile.json"

    @property
    def adapter_path(self) -> Path | None:
        """The adapter's tensors; None if the base weights were kept."""
        return self._listed("adapter.safetensors")

    @property
    def scheduler_path(self) -> Path | None:
        """The content-aware scheduler's tensors; None if none was trained."""
        return self._listed("scheduler.safetensors")

    def check_calibrated(self, profile: Profile, path: Path) -> None:
        """Raise InvalidInputError if the profile in the file `path` was calibrated without this run.

        Such a profile would use nothing of the run. A run without an adapter is recognised by its scheduler.
        """
        adapter = self.manifest.files.get("adapter.safetensors")
        own = path.resolve() == self.profile_path.resolve()
        calibrated_with = {network.adapter for network in profile.networks} - {None}
        if adapter in calibrated_with or (adapter is None and not calibrated_with and (own or profile.scheduled)):
            return
        without = "with another adapter than that of" if calibrated_with else "without"
        raise InvalidInputError(
            f"profile {path}: was calibrated {without} run {self.folder}, of which it would use nothing; leave the "
            "profile out, to take the run's own, or leave the run out"
        )

    def _listed(self, name: str) -> Path | None:
        return self.folder / name if name in self.manifest.files else None

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run; raises InvalidInputError if `folder` is none, or one of its files is missing or altered."""
        if not files.is_folder(folder, "run"):
            raise InvalidInputError(f"run {folder}: no such folder; name one that `adainf train` made")
        loaded = documents.json_file(folder / _MANIFEST, "run")
        if not isinstance(loaded, Mapping) or loaded.get("schema") != SCHEMA:
            found = loaded.get("schema") if isinstance(loaded, Mapping) else type(loaded).__name__
            raise InvalidInputError(f"run {folder}: schema is {found!r}; must be {SCHEMA!r}, as by `adainf train`")
        try:
            manifest = Manifest.model_validate(loaded)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "manifest"
            raise InvalidInputError(f"run {folder}: {key}: {one_line(first['msg'])}") from None
        for name, expected in manifest.files.items():
            if "/" in name or "\0" in name or digest(folder / name) != expected:
                raise InvalidInputError(f"run {folder}: {name} is not the file that {_MANIFEST} names")
        return cls(folder, manifest)

    @classmethod
    def write(cls, folder: Path, manifest: Manifest) -> "Run":
        """Write the manifest atomically, as the last of a run's files."""
        text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1)
        write_atomically(folder / _MANIFEST, text + "\n")
        return cls(folder, manifest)


def digest(path: Path) -> str:
    """Return a file's SHA-256 (hex); raises InvalidInputError if it cannot be read."""
    files.check_file(path, "file")  # reading a pipe might never end
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read ({error.strerror})") from None


def now() -> str:
    """Return the time to record in files, in ISO 8601: now (UTC), or SOURCE_DATE_EPOCH if it is set."""
    # The convention for builds that are reproducible to the byte: reproducible-builds.org/specs/source-date-epoch.
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")
