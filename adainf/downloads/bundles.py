"""Bundles: a fetched model in a single tar file, for a box without a network.

A bundle is untrusted: its sizes are bounded and its contents verified before anything is installed.
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
"""Bytes of disk space to keep free."""


def bundle(folder: Path, manifest: FetchedManifest, out: Path) -> None:
    """Verify a fetched model and write it to a single file, atomically."""
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
    """Install a bundle; raises InvalidInputError, with nothing installed, unless it is a complete, valid model.

    It must also fit on the disk, and must not change a file of another model.
    """
    files.check_file(file, "bundle")
    try:
        size = file.stat().st_size
        if size + _TO_SPARE > shutil.disk_usage(_made(into)).free:
            raise InvalidInputError(f"bundle {file}: {into} has no room for its {size >> 20} MiB")
        with (
            _Bounded(file, "rb") as content,
            tarfile.open(fileobj=content, mode="r:") as tar,  # a compressed tar could expand to any size
            tempfile.TemporaryDirectory(prefix=".", dir=into) as staging,
        ):
            manifest, sources = _unpacked(tar, Path(staging), file)
            models.verify(Path(staging), manifest)
            models.place(manifest, sources, into)
    except (OSError, tarfile.TarError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"bundle {file}: cannot be read ({one_line(error, 120)})") from None
    return manifest


def _unpacked(tar: tarfile.TarFile, staging: Path, file: Path) -> tuple[FetchedManifest, dict[str, Path]]:
    """Extract to `staging`; return the manifest and its files, each of which must occur once, as a plain file."""
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
    """Return whether a member is a regular file stored in full: no link, device or sparse file."""
    return member.isreg() and not member.issparse() and member.size >= 0


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = tar.extractfile(member)
    while content is not None and (part := content.read(_AT_ONCE)):
        yield part


class _Bounded(io.FileIO):
    """A file that limits reads, whose sizes come from untrusted headers, to 1 MiB each and twice its size in total."""

    _left: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; raises tarfile.ReadError beyond the limits."""
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
