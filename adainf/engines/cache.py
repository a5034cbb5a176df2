"""What engines keep on disk from one start to the next."""

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

_FORMAT = 3
"""To be raised when the same network would be exported otherwise than before."""


def cache_folder() -> Path:
    """Where exports are kept: below systemd's `$CACHE_DIRECTORY`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.partition(":")[0]) / "onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adainf" / "onnx"


class ExportCache:
    """The exports of one network with certain weights, as files named by what they were made of and for.

    They are kept as the runtime has optimised them for this processor: such a file takes a third of the time to load,
    since nothing of it is rewritten. Weights that branches have in common are kept, and held in memory, once. Beside
    each export stand the SHA-256 of its files: after a power cut a file may have its name and size, but not its
    content. What another user has put there, or could have, is not loaded.
    """

    def __init__(
        self,
        folder: Path,
        network: Exportable,
        optimise: Callable[[bytes, Path], None],
        warn: Callable[[str], None],
    ) -> None:
        """optimise: writes a model to a path as it is to run. warn: told once where `folder` cannot be written."""
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
        """The file of `what`, there or not."""
        return self._folder / f"{hashlib.sha256(f'{self._maker} {what}'.encode()).hexdigest()}.onnx"

    def has(self, what: Branch | NetworkPart) -> bool:
        """Whether the file of `what` is there; whether it is whole is seen when it is read."""
        path = self.path(what)
        return self._stranger is None and files.is_there(path) and files.is_there(_digests_path(path))

    def model(self, what: Branch | NetworkPart) -> Path | bytes:
        """The file of `what`, made where it is not there whole; where none can be kept, the model as exported."""
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
        """Whether all files of an export are as they were written, by nobody but us."""
        if files.stranger(_digests_path(path)) is not None:
            return False
        try:
            lines = _digests_path(path).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return False
        parts = [(name, digest) for digest, _, name in (line.partition("  ") for line in lines)]
        return path.name in dict(parts) and all(self._holds(name, digest) for name, digest in parts)

    def _holds(self, name: str, digest: str) -> bool:
        """Whether a file of this content is there; it is read once, for all exports that share it."""
        path = self._folder / name
        if not files.is_there(path):
            return False
        if (name, digest) not in self._held and _digest(path) == digest:
            self._held.add((name, digest))
        return (name, digest) in self._held

    def _write(self, path: Path, model: bytes) -> None:
        """Have the files of an export made elsewhere, then renamed; their digests after them."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as name:
            folder = Path(name)
            made, digests = folder / path.name, folder / "digests"
            self._optimise(model, made)
            digest_of = {weights: weights.partition(".")[0] for weights in set_out(made, folder)} | {
                made.name: _digest(made)
            }
            digests.write_text("".join(f"{digest}  {name}\n" for name, digest in digest_of.items()), encoding="ascii")
            for file, digest in digest_of.items():
                # One that is there stays: sessions share it only while it is the same file.
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
