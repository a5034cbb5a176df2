"""Models that `adainf fetch` has brought: where they are, and bundles that carry them to a box without a network.

A folder of models holds `hub/`, laid out as the hub's client lays out its cache, and a manifest a model, which has the
SHA-256 of each of its files. A bundle is a tar of the same.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from adainf import files
from adainf.errors import InvalidInputError, one_line

__all__ = ["Manifest", "bundle", "folders", "install", "manifests", "unbundle", "verify", "writable_folder"]

_SERVICE = Path("/var/opt/adainf")
_SCHEMA = "adainf.model/1"
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A fetched model: what it is, the fingerprint of its weights, and its files with their SHA-256."""

    backbone: str
    weights: str | None
    fingerprint: str
    files: dict[str, str]
    schema: str = _SCHEMA

    @property
    def file_name(self) -> str:
        """The manifest's own."""
        return f"{self.backbone.replace('/', '--')}{f'--{self.weights}' if self.weights else ''}.json"

    def text(self) -> str:
        """The manifest as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def parse(cls, text: str, origin: object) -> "Manifest":
        """From JSON; raises InvalidInputError where that is not a manifest, or names a file outside its folder."""
        try:
            manifest = cls(**json.loads(text))
            good = manifest.schema == _SCHEMA and all(_is_inside(name) for name in manifest.files)
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"{origin}: is not a model of `adainf fetch` ({one_line(error, 100)})") from None
        if not good:
            raise InvalidInputError(f"{origin}: is of another version, or names a file outside its folder")
        return manifest


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return isinstance(name, str) and path.parts[:1] == ("hub",) and ".." not in path.parts


def folders() -> tuple[Path, ...]:
    """Where fetched models are looked for: `$ADAINF_MODELS`, else the user's folder, then the services'."""
    if named := os.environ.get("ADAINF_MODELS"):
        return (Path(named),)
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return (data / "adainf" / "models", _SERVICE)


def writable_folder() -> Path:
    """Where a model is put: `$ADAINF_MODELS`, else the services' where this user may, else the user's."""
    first, *others = folders()
    return next((folder for folder in others if os.access(folder, os.W_OK)), first)


def manifests(folder: Path) -> list[Manifest]:
    """The models in a folder."""
    return [Manifest.parse(files.read_text(file, "model"), file) for file in sorted(folder.glob("*.json"))]


def verify(folder: Path, manifest: Manifest) -> None:
    """Raise InvalidInputError on the first file that is missing or not what it was."""
    for name, digest in manifest.files.items():
        file = folder / name
        if not files.is_file(file, "model"):
            raise InvalidInputError(f"model {manifest.backbone}: {file} is missing; fetch it again")
        if _digest(file) != digest:
            raise InvalidInputError(f"model {manifest.backbone}: {file} is damaged; fetch it again")


def install(staged: Path, backbone: str, weights: str | None, fingerprint: str, into: Path) -> Manifest:
    """Take over what the hub's client has put into `staged`/hub; the manifest of it, once all is in place."""
    files = dict(_cached(staged))
    manifest = Manifest(backbone, weights, fingerprint, {name: _digest(file) for name, file in files.items()})
    for name, file in files.items():
        _place(file, into / name)
    _write(into / manifest.file_name, manifest.text())
    return manifest


def _cached(staged: Path) -> Iterator[tuple[str, Path]]:
    """Files under the names by which the client finds them; what they link to is theirs."""
    for file in sorted((staged / "hub").glob("models--*/**/*")):
        name = file.relative_to(staged)
        if file.is_file() and name.parts[2] in ("refs", "snapshots"):
            yield name.as_posix(), file.resolve()


def bundle(folder: Path, manifest: Manifest, out: Path) -> None:
    """Write a model as one file, whole or not at all."""
    verify(folder, manifest)
    files.check_new_file(out)
    try:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            with tarfile.open(fileobj=file, mode="w") as tar:
                text = manifest.text().encode()
                head = tarfile.TarInfo(_MANIFEST)
                head.size = len(text)
                tar.addfile(head, io.BytesIO(text))
                for name in manifest.files:
                    tar.add((folder / name).resolve(), arcname=name)
        temporary.chmod(0o644)
        temporary.replace(out)
    except OSError as error:
        raise InvalidInputError(f"bundle {out}: cannot be written ({error.strerror})") from None


def unbundle(file: Path, into: Path) -> Manifest:
    """Install a bundle; raises InvalidInputError, with nothing installed, where a file in it is not what it was."""
    try:
        with tarfile.open(file) as tar, tempfile.TemporaryDirectory(prefix=".", dir=_made(into)) as staging:
            head = tar.extractfile(_MANIFEST)
            manifest = Manifest.parse(head.read().decode() if head else "", f"bundle {file}")
            for name in manifest.files:
                content = tar.extractfile(name)
                if content is None:
                    raise InvalidInputError(f"bundle {file}: {name} is no file")
                target = Path(staging) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
            verify(Path(staging), manifest)
            for name in manifest.files:
                _place(Path(staging) / name, into / name)
    except (OSError, tarfile.TarError, KeyError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"bundle {file}: cannot be read ({one_line(error, 120)})") from None
    _write(into / manifest.file_name, manifest.text())
    return manifest


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"models {folder}: cannot be made ({error.strerror}); set ADAINF_MODELS") from None
    return folder


def _place(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    shutil.copyfile(file, temporary)
    temporary.chmod(0o644)
    temporary.replace(target)


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
