"""What a camera is told: where its pictures come from, which of them, and how long all that may take."""

from dataclasses import dataclass, field

from adainf.sensors.motion import Region
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.source import Source, Transport

__all__ = ["PIXELS_A_MEGAPIXEL", "CameraSettings", "Polygon"]

PIXELS_A_MEGAPIXEL = 1_000_000

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """A camera's settings, as its process needs them.

    loop: a file begins anew at its end. fps: at which a file or the pictures of a folder are played; None, a file's
    own. max_fps: how many frames a second are looked at. most_pixels: a JPEG of more is decoded at a smaller scale, any
    other picture of more is refused undecoded. max_age: seconds after which a frame is not answered any more.
    ignored: regions in which nothing counts as motion. mask: polygons, points (x, y) as fractions of width and height,
    that are painted over. regions: the parts that are recognised, each for itself; none, the whole picture.
    transport: of RTSP. follow: hosts, HOST or HOST:PORT, that the source may lead to besides its own.
    """

    name: str
    source: Source
    loop: bool = False
    fps: float | None = None
    max_fps: float | None = None
    most_pixels: int = 16 * PIXELS_A_MEGAPIXEL
    max_age: float = 2.0
    ignored: tuple[Region, ...] = ()
    mask: tuple[Polygon, ...] = ()
    regions: tuple[Region, ...] = ()
    transport: Transport = "tcp"
    follow: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def parts(self) -> tuple[Region | None, ...]:
        """What is recognised for itself; None is the whole picture."""
        return self.regions or (None,)
