"""Settings of a camera process: its source, preprocessing and time limits."""

from dataclasses import dataclass, field

from adainf.sensors.motion import Region
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.source import Source, Transport

__all__ = ["PIXELS_A_MEGAPIXEL", "CameraSettings", "Polygon"]

PIXELS_A_MEGAPIXEL = 1_000_000

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """The settings a camera process needs.

    loop: restart a file at its end. fps: playback rate of a file or a folder of pictures; None for a file's own rate.
    max_fps: frames per second to process at most. most_pixels: larger JPEGs are decoded at a smaller scale, any other
    larger picture is refused undecoded. max_age: seconds after which a frame is no longer answered. ignored: regions
    excluded from motion detection. mask: polygons to paint over, with points (x, y) as fractions of width and height.
    regions: parts recognised separately; if empty, the whole picture. transport: for RTSP. follow: hosts, as HOST or
    HOST:PORT, that the source may redirect to besides its own.
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
        """The regions recognised separately; None stands for the whole picture."""
        return self.regions or (None,)
