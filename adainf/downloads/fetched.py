"""Models downloaded by `adainf fetch`: locating, verifying and installing them.

A folder of models contains `hub/`, in the layout of the hub client's cache, and one manifest per model with the SHA-256
of each of its files.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line

__all__ = [
    "FetchedManifest",
    "check_fetched",
    "folders",
    "install",
    "manifests",
    "place",
    "verify",
    "writable_folder",
]

_SERVICE = Path("/var/opt/adainf")
_SCHEMA = "adainf.model/1"
_BACKBONE = re.compile(r"[a-z0-9_]+/[A-Za-z0-9_][A-Za-z0-9_.-]*")
_WEIGHTS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A fetched model: its backbone and weights, their fingerprint, and the SHA-256 of each file by path."""

    backbone: str
    weights: str | None
    fingerprint: str
    files: dict[str, str]
    schema: str = _SCHEMA

    @property
    def file_name(self) -> str:
        """The file name of the manifest itself."""
        return f"{self.backbone.replace('/', '--')}{f'--{self.weights}' if self.weights else ''}.json"

    def text(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def parse(cls, text: str, origin: object) -> "FetchedManifest":
        """Parse JSON; raises InvalidInputError if it is not a manifest, or names a file outside its folder."""
        try:
            manifest = cls(**json.loads(text))
            valid = manifest.schema == _SCHEMA and manifest.is_sound
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"{origin}: is not a model of `adainf fetch` ({one_line(error, 100)})") from None
        if not valid:
            raise InvalidInputError(f"{origin}: is of another version, or names a file outside its folder")
        return manifest

    @property
    def is_sound(self) -> bool:
        """Whether all fields are well-formed and no path leads outside the folder."""
        return (
            _BACKBONE.fullmatch(self.backbone) is not None
            and (self.weights is None or _WEIGHTS.fullmatch(self.weights) is not None)
            and isinstance(self.fingerprint, str)
            and 0 < len(self.files) <= _MOST_FILES
            and all(_is_inside(name) and _DIGEST.fullmatch(digest) for name, digest in self.files.items())
        )


def _is_inside(name: str) -> bool:
    """Return whether `name` is a normalised path inside the hub client's cache."""
    path = PurePosixPath(name)
    return (
        name.isprintable()
        and str(path) == name
        and ".." not in path.parts
        and len(path.parts) > len(_CACHED)
        and path.parts[0] == _CACHED[0]
        and path.parts[1].startswith(_CACHED[1])
        and path.parts[2] in _CACHED[2]
    )


_CACHED = ("hub", "models--", ("refs", "snapshots"))
"""The leading parts of each file's path; the client's other files do not belong to a model."""


def folders() -> tuple[Path, ...]:
    """Return the folders to search for models: `$ADAINF_MODELS`, else the user's, then the services'."""
    if named := os.environ.get("ADAINF_MODELS"):
        return (Path(named),)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return (data / "adainf" / "models", _SERVICE)


def writable_folder() -> Path:
    """Return the folder for new models: `$ADAINF_MODELS`, else the services' if writable, else the user's."""
    first, *others = folders()
    return next((folder for folder in others if os.access(folder, os.W_OK)), first)


def manifests(folder: Path) -> list[FetchedManifest]:
    """Return the manifests of the models in a folder, sorted by file name."""
    return [FetchedManifest.parse(files.read_text(file, "model"), file) for file in sorted(folder.glob("*.json"))]


def verify(folder: Path, manifest: FetchedManifest) -> None:
    """Raise InvalidInputError on the first file of a model that is missing or damaged."""
    for name, digest in manifest.files.items():
        file = folder / name
        if not files.is_file(file, "model"):
            raise InvalidInputError(f"model {manifest.backbone}: {file} is missing; fetch it again")
        if _digest(file) != digest:
            raise InvalidInputError(f"model {manifest.backbone}: {file} is damaged; fetch it again")


def check_fetched(folder: Path, backbone: str) -> bool:
    """Return whether a backbone was fetched into `folder`, after verifying every file that loading it may read.

    Raises InvalidInputError if a file has changed since or was not fetched, or if a manifest is world-writable.
    """
    candidates = [
        FetchedManifest.parse(files.read_text(file, "model"), file)
        for file in sorted(folder.glob(f"{backbone.replace('/', '--')}*.json"))
    ]
    found = [manifest for manifest in candidates if manifest.backbone == backbone]
    for manifest in found:
        if (why := files.open_to_all(folder / manifest.file_name)) is not None:
            raise InvalidInputError(f"model {backbone}: {why}; chmod o-w it, and fetch the model again")
        verify(folder, manifest)
    if found:
        _check_no_more(folder, backbone, {name for manifest in found for name in manifest.files})
    return bool(found)


def _check_no_more(folder: Path, backbone: str, known: set[str]) -> None:
    """Reject unknown files: the hub's client may prefer one, say of another format, to the file that was fetched."""
    repositories = {PurePosixPath(name).parts[1] for name in known}
    present = {name for name, _ in _cached(folder) if PurePosixPath(name).parts[1] in repositories}
    if unknown := present - known:
        unknown -= {name for manifest in manifests(folder) for name in manifest.files}
    if unknown:
        raise InvalidInputError(f"model {backbone}: {folder / min(unknown)} was not fetched with it; remove that file")


def install(staged: Path, backbone: str, weights: str | None, fingerprint: str, into: Path) -> FetchedManifest:
    """Install the model that the hub's client downloaded to `staged`/hub; return its manifest."""
    fetched = dict(_cached(staged))
    manifest = FetchedManifest(backbone, weights, fingerprint, {name: _digest(file) for name, file in fetched.items()})
    place(manifest, fetched, into)
    return manifest


def place(manifest: FetchedManifest, sources: Mapping[str, Path], into: Path) -> None:
    """Copy a model's files and then write its manifest to a folder of models.

    Raises InvalidInputError, with nothing changed, if this would replace a file or the manifest of another model.
    """
    for other in manifests(into):
        if (other.backbone, other.weights) == (manifest.backbone, manifest.weights):
            continue
        if other.file_name == manifest.file_name:
            raise InvalidInputError(f"model {manifest.backbone}: {into / other.file_name} is that of {other.backbone}")
        for name, digest in other.files.items():
            if manifest.files.get(name, digest) != digest:
                raise InvalidInputError(f"model {manifest.backbone}: {into / name} belongs to {other.backbone}")
    for name, source in sources.items():
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        files.replace_by(target, source, 0o644)
    files.replace(into / manifest.file_name, manifest.text().encode(), 0o644)


def _cached(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file's path in the client's cache, relative to `folder`, and the resolved file behind it."""
    for file in sorted((folder / "hub").glob("models--*/**/*")):
        name = file.relative_to(folder)
        if file.is_file() and name.parts[2] in _CACHED[2]:
            yield name.as_posix(), file.resolve()


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
