"""What engines keep on disk from one start to the next."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from adainf.branch import Branch
from adainf.engines.base import Exportable, Part
from adainf.engines.processor import processor_identity

__all__ = ["ExportCache", "cache_folder"]

_FORMAT = 2
"""To be raised when the same network would be exported otherwise than before."""


def cache_folder() -> Path:
    """Where exports are kept: below systemd's `$CACHE_DIRECTORY`, else below `$XDG_CACHE_HOME` or `~/.cache`."""
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.partition(":")[0]) / "onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adainf" / "onnx"


class ExportCache:
    """The exports of one network with certain weights, as files named by what they were made of and for.

    They are kept as the runtime has optimised them for this processor: such a file takes a third of the time to load,
    and half the memory, since nothing of it is rewritten. Beside each stands its SHA-256: after a power cut a file may
    have its name and size, but not its content.
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
        self._writes = True

    def path(self, what: Branch | Part) -> Path:
        """The file of `what`, there or not."""
        return self._folder / f"{hashlib.sha256(f'{self._maker} {what}'.encode()).hexdigest()}.onnx"

    def has(self, what: Branch | Part) -> bool:
        """Whether the file of `what` is there; whether it is whole is seen when it is read."""
        path = self.path(what)
        return path.is_file() and _digest_path(path).is_file()

    def model(self, what: Branch | Part) -> Path | bytes:
        """The file of `what`, made where it is not there whole; where none can be kept, the model as exported."""
        path = self.path(what)
        if _is_whole(path):
            return path
        model = self._network.export(what)
        if not self._writes:
            return model
        try:
            _write(path, lambda temporary: self._optimise(model, temporary))
        except OSError as error:
            self._writes = False
            self._warn(f"{self._folder}: exports cannot be kept here, so every start makes them ({error.strerror})")
            return model
        return path


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _is_whole(path: Path) -> bool:
    try:
        wanted = _digest_path(path).read_text(encoding="ascii", errors="replace")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted
    except OSError:
        return False


def _write(path: Path, make: Callable[[Path], None]) -> None:
    """Have the file at `path` made under another name, then renamed; its digest after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        made, digest = Path(folder) / path.name, Path(folder) / "digest"
        make(made)
        with made.open("rb") as file:
            os.fsync(file.fileno())
            digest.write_text(hashlib.file_digest(file, "sha256").hexdigest(), encoding="ascii")
        made.replace(path)
        digest.replace(_digest_path(path))
