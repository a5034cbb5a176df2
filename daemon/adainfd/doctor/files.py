"""Files and folders named by a configuration, and which of them the service cannot read."""

from collections.abc import Iterator
from pathlib import Path

from adainfd.base.secretfile import at_hand
from adainfd.capture.source import Kind, Source, SourceError
from adainfd.config.configuration import CameraSection, Configuration
from adainfd.doctor.eyes import hindrance, is_service

__all__ = ["unreadable", "unreadable_source"]


def unreadable(configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    """Yield what the service cannot read, sources excepted: subject as named by the doctor, problem, remedy."""
    for subject, path in _named(configuration):
        if found := hindrance(path):
            yield subject, *found


def unreadable_source(camera: CameraSection) -> tuple[str, str] | None:
    """Return why the service cannot read a video or pictures, and the remedy; None if it can."""
    source = Source(camera.source)
    if not is_service() or source.kind in (Kind.DEVICE, Kind.STREAM):
        return None
    path = Path(source.path)
    if (found := hindrance(path) or hindrance(path.parent)) is not None or source.kind is not Kind.PICTURES:
        return found
    try:
        return next(filter(None, map(hindrance, source.pictures())), None)
    except SourceError:  # reported when the source is opened
        return None


def _named(configuration: Configuration) -> Iterator[tuple[str, Path]]:
    model = configuration.model
    policies = (model.policy, *(camera.policy for camera in configuration.camera))
    weights = model.weights.values() if isinstance(model.weights, dict) else (model.weights,)
    others = ("profile", model.profile), *(("weights", name) for name in weights)
    for subject, name in (*(("policy", policy) for policy in dict.fromkeys(policies)), *others):
        # A name with neither is a built-in one, or one on a model hub.
        if name is not None and ("/" in name or Path(name).suffix):
            yield subject, Path(name)
    if model.run is not None:
        yield from (("run", file) for file in (model.run, *_files(model.run)))
    passwords = dict.fromkeys(camera.password_file for camera in configuration.camera)
    yield from (("password", at_hand(file)) for file in passwords if file is not None)
    clients = configuration.publish.clients
    if clients is not None:
        yield "keys", clients
        yield from (("keys", file) for file in _files(clients) if file.suffix == ".key")


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.is_file())
    except OSError:
        return []
