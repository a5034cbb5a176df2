"""Bundles: a fetched model as one file (tar), for a box without a network.

A bundle comes from elsewhere: what it claims is bounded and compared before anything is taken from it.
"""

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line
from adainf.downloads import fetched as models
from adainf.downloads.fetched import FetchedManifest

__all__ = ["bundle", "unbundle"]

_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 20
_AT_ONCE = 1 << 20
_TO_SPARE = 64 << 20
"""What is left of a disk's room."""


def bundle(folder: Path, manifest: FetchedManifest, out: Path) -> None:
    """Write a model as one file, whole or not at all."""
    models.verify(folder, manifest)
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


def unbundle(file: Path, into: Path) -> FetchedManifest:
    """Install a bundle; raises InvalidInputError, with nothing installed, where it holds anything but a whole model.

    Nor may it be larger than what the disk has room for, or have a file that another model has otherwise.
    """
    files.check_file(file, "bundle")
    try:
        size = file.stat().st_size
        if size + _TO_SPARE > shutil.disk_usage(_made(into)).free:
            raise InvalidInputError(f"bundle {file}: {into} has no room for its {size >> 20} MiB")
        with (
            _Bounded(file, "rb") as content,
            tarfile.open(fileobj=content, mode="r:") as tar,  # a compressed one could be of any size
            tempfile.TemporaryDirectory(prefix=".", dir=into) as staging,
        ):
            manifest, sources = _unpacked(tar, Path(staging), file)
            models.verify(Path(staging), manifest)
            models.place(manifest, sources, into)
    except (OSError, tarfile.TarError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"bundle {file}: cannot be read ({one_line(error, 120)})") from None
    return manifest


def _unpacked(tar: tarfile.TarFile, staging: Path, file: Path) -> tuple[FetchedManifest, dict[str, Path]]:
    """The manifest, and the files that it names, each once and as a plain file."""
    members = iter(tar)
    head = next(members, None)
    if head is None or head.name != _MANIFEST or not _is_plain(head) or head.size > _LARGEST_MANIFEST:
        raise InvalidInputError(f"bundle {file}: must begin with {_MANIFEST}, of at most {_LARGEST_MANIFEST >> 20} MiB")
    manifest = FetchedManifest.parse(b"".join(_content(tar, head)).decode(), f"bundle {file}")
    sources: dict[str, Path] = {}
    for member in members:
        if member.name not in manifest.files or member.name in sources or not _is_plain(member):
            raise InvalidInputError(f"bundle {file}: {one_line(member.name, 100)!r} is not one of its manifest's files")
        source = sources[member.name] = staging / member.name
        source.parent.mkdir(parents=True, exist_ok=True)
        with source.open("xb") as copy:
            for part in _content(tar, member):
                copy.write(part)
    if missing := manifest.files.keys() - sources.keys():
        raise InvalidInputError(f"bundle {file}: {min(missing)} is missing")
    return manifest, sources


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a file whose bytes stand in the bundle: no link, no device, no holes."""
    return member.isreg() and not member.issparse() and member.size >= 0


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = tar.extractfile(member)
    while content is not None and (part := content.read(_AT_ONCE)):
        yield part


class _Bounded(io.FileIO):
    """A file of which nobody reads much at once, as a header may ask for, nor in all more than twice what it has."""

    _left: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """See io."""
        if self._left is None:
            self._left = 2 * os.fstat(self.fileno()).st_size + _AT_ONCE
        if size is None or not 0 <= size <= _AT_ONCE:
            raise tarfile.ReadError("a header of it claims to be larger than any")
        part = super().read(size) or b""
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError("it refers to its own parts again and again")
        return part


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"models {folder}: cannot be made ({error.strerror}); set ADAINF_MODELS") from None
    return folder
