"""The on-disk cache of exported ONNX models, kept from one start to the next."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from adainf.base import files
from adainf.branch import Branch
from adainf.engines.base import Exportable, NetworkPart
from adainf.engines.processor import processor_identity
from adainf.engines.shared import set_out

__all__ = ["ExportCache", "cache_folder"]

_FORMAT = 4
"""Increment this when the export of an unchanged network changes."""


def cache_folder() -> Path:
    """Return the folder of exports: below systemd's `$CACHE_DIRECTORY`, else `$XDG_CACHE_HOME` or `~/.cache`."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.partition(":")[0]) / "onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adainf" / "onnx"


class ExportCache:
    """The exports of one network with certain weights, in files named by a hash of their inputs and target processor.

    Models are stored as the runtime optimised them for this processor. They load in a third of the time, because the
    runtime does not rewrite them again. Branches share weight files, on disk and in memory. A checksum file beside
    each export holds the SHA-256 of its files: after a power cut a file may have its name and size, but not its
    content. Files that another user wrote, or could have written, are not loaded.
    """

    def __init__(
        self,
        folder: Path,
        network: Exportable,
        optimise: Callable[[bytes, Path], None],
        warn: Callable[[str], None],
    ) -> None:
        """optimise: writes the optimised model to a path. warn: called once if `folder` is unsafe or not writable."""
        self._folder = folder
        self._network = network
        makers = " ".join(version(package) for package in ("torch", "onnxruntime"))
        self._maker = f"{_FORMAT} {makers} {processor_identity()} {network.outline.name} {network.outline.weights}"
        self._optimise = optimise
        self._warn = warn
        self._stranger = files.stranger(folder)
        self._writes = True
        self._held: set[tuple[str, str]] = set()

    def path(self, what: Branch | NetworkPart) -> Path:
        """Return the path of the export of `what`, whether or not it exists."""
        path = what.path if isinstance(what, Branch) else what  # a network's name differs from family to family
        return self._folder / f"{hashlib.sha256(f'{self._maker} {path}'.encode()).hexdigest()}.onnx"

    def has(self, what: Branch | NetworkPart) -> bool:
        """Return whether the export of `what` exists; `model` verifies its checksums."""
        path = self.path(what)
        return self._stranger is None and files.is_there(path) and files.is_there(_digests_path(path))

    def model(self, what: Branch | NetworkPart) -> Path | bytes:
        """Return the path of the export of `what`, exporting it if missing or damaged.

        Return the exported model itself, not optimised, if the folder cannot be used.
        """
        path = self.path(what)
        if self._stranger is not None and self._writes:
            self._writes = False
            self._warn(f"{self._folder}: its exports are not used, so every start makes them ({self._stranger})")
        if self._stranger is None and self._is_whole(path):
            return path
        model = self._network.export(what)
        if not self._writes:
            return model
        try:
            self._write(path, model)
        except OSError as error:
            self._writes = False
            self._warn(f"{self._folder}: exports cannot be kept here, so every start makes them ({error.strerror})")
            return model
        return path

    def _is_whole(self, path: Path) -> bool:
        """Return whether all files of an export match their checksums and no other user could have written them."""
        if files.stranger(_digests_path(path)) is not None:
            return False
        try:
            lines = _digests_path(path).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return False
        entries = [(name, digest) for digest, _, name in (line.partition("  ") for line in lines)]
        return path.name in dict(entries) and all(self._holds(name, digest) for name, digest in entries)

    def _holds(self, name: str, digest: str) -> bool:
        """Return whether a file has this content. Each file is read once, for all exports that share it."""
        path = self._folder / name
        if not files.is_there(path):
            return False
        if (name, digest) not in self._held and _digest(path) == digest:
            self._held.add((name, digest))
        return (name, digest) in self._held

    def _write(self, path: Path, model: bytes) -> None:
        """Write the files of an export to a temporary folder, then rename them, the checksum file last."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as name:
            folder = Path(name)
            optimised, digests = folder / path.name, folder / "digests"
            self._optimise(model, optimised)
            digest_of = {weights: weights.partition(".")[0] for weights in set_out(optimised, folder)} | {
                optimised.name: _digest(optimised)
            }
            digests.write_text("".join(f"{digest}  {name}\n" for name, digest in digest_of.items()), encoding="ascii")
            for file, digest in digest_of.items():
                # Keep an existing file: sessions share weights in memory only while they map the same file.
                if not self._holds(file, digest):
                    _synchronised(folder / file).replace(path.parent / file)
            digests.replace(_digests_path(path))


def _digests_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _synchronised(path: Path) -> Path:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
