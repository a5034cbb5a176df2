"""Options that a configuration sets without any effect; the daemon logs them, since their owner relies on them."""

from collections.abc import Iterator

from adainfd.capture.source import Kind, Source
from adainfd.config.configuration import CameraSection, Configuration, PublishSection
from adainfd.wire import endpoint as endpoints

__all__ = ["unused"]


def unused(configuration: Configuration) -> Iterator[str]:
    """Yield a message for each option without an effect, with the reason."""
    for camera in configuration.camera:
        yield from (f"camera {camera.name}: {text}" for text in _of_camera(camera))
    yield from (f"publish: {text}" for text in _of_publishing(configuration.publish))
    asked = (configuration.model.classes, *(camera.classes for camera in configuration.camera))
    if configuration.collect is not None and not any(asked):
        yield "collect has no effect, no view has classes of its own"


def _of_camera(camera: CameraSection) -> Iterator[str]:
    source = Source(camera.source)
    if source.live and camera.loop:
        yield f"loop has no effect, {source} never ends"
    # A single picture over HTTP is fetched at this rate.
    if source.live and source.scheme not in ("http", "https") and camera.fps is not None:
        yield f"fps has no effect, {source} comes at its own pace; max_fps limits that"
    if "transport" in camera.model_fields_set and source.scheme not in ("rtsp", "rtsps"):
        yield "transport has no effect, only RTSP has one"
    if camera.follow and source.kind is not Kind.STREAM:
        yield f"follow has no effect, {source} leads nowhere"


def _of_publishing(publish: PublishSection) -> Iterator[str]:
    if publish.key is None:
        return
    if publish.unprotected:
        yield "unprotected has no effect, key and clients guard every port"
    if not any(endpoints.is_tcp(endpoint.address) for endpoint in publish.bind):
        yield "key and clients have no effect, only ports (tcp://) are guarded by them"
