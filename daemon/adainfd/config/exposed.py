"""The daemon's own ports within reach of a camera's subprocess: Landlock restricts ports, but not addresses."""

from collections.abc import Iterable, Iterator

from adainfd.capture.reach import reach_of
from adainfd.capture.settings import CameraSettings
from adainfd.capture.source import Kind
from adainfd.config.configuration import Configuration
from adainfd.wire import endpoint as endpoints

__all__ = ["REMEDY", "exposed"]

REMEDY = "give it a port that no camera has"


def exposed(configuration: Configuration, cameras: Iterable[CameraSettings]) -> Iterator[str]:
    """Yield a warning for each unprotected port that a compromised decoder could connect to, naming the camera."""
    ports = dict(_unguarded(configuration))
    for camera in cameras:
        if camera.source.kind is not Kind.STREAM:
            continue
        connects = reach_of(camera).connects
        for port in ports:
            if connects is None or port in connects:
                yield f"{ports[port]}: the process of camera {camera.name} may connect to port {port}, also of this box"


def _unguarded(configuration: Configuration) -> Iterator[tuple[int, str]]:
    if configuration.web is not None:
        yield configuration.web.address[1], "web"
    for endpoint in configuration.publish.endpoints:
        port = endpoint.address.rpartition(":")[2]
        if configuration.publish.key is None and endpoints.is_tcp(endpoint.address) and port.isdigit():
            yield int(port), "publish"
