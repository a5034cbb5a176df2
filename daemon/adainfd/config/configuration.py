"""The model of the daemon's configuration file (TOML), `/etc/adainf/NAME.toml`."""

import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from adainf.base import tomlfile
from adainf.debouncing.presence import PresenceRule
from adainfd.base import secretfile
from adainfd.capture.cameras.lifecycle import Limits
from adainfd.capture.leash import follow_of
from adainfd.capture.settings import PIXELS_A_MEGAPIXEL, CameraSettings
from adainfd.capture.source import Source, Transport
from adainfd.collecting.rule import CollectRule
from adainfd.service.web.access import is_host
from adainfd.wire import endpoint as endpoints
from adainfd.wire.endpoint import Endpoint
from adainfd.wire.messages import LONGEST_LABEL, LONGEST_NAME, MOST_CAMERAS

__all__ = [
    "CameraSection",
    "CollectSection",
    "Configuration",
    "EndpointSection",
    "ModelSection",
    "PublishSection",
    "RecordSection",
    "WebSection",
    "host_name",
]

_USUAL_ENDPOINT = "tcp://127.0.0.1:5600"
Triple = tuple[float, float, float]
_HIGHEST_PORT = 65535
Edge = Annotated[float, Field(ge=0, le=1)]


def _has_area(region: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = region
    if left >= right or top >= bottom:
        raise ValueError("must be [left, top, right, bottom] with left < right and top < bottom, fractions from 0 to 1")
    return region


Region = Annotated[tuple[Edge, Edge, Edge, Edge], AfterValidator(_has_area)]
Polygon = Annotated[tuple[tuple[Edge, Edge], ...], Field(min_length=3)]
Rate = Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)]
Named = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=LONGEST_NAME)]
LabelText = Annotated[str, Field(max_length=LONGEST_LABEL)]


def host_name() -> str:
    """Return this box's host name as a topic segment: every run of invalid characters becomes `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", socket.gethostname()).strip("-")[:LONGEST_NAME] or "localhost"


class ModelSection(tomlfile.Section):
    """The network, its weights, and the policy that sets its budgets.

    run: a folder made by `adainf train`. profile: defaults to the run's; without a run,
    to the shipped profile efficientnet-lite. backbone: to check against the profile. weights: of the profile's first
    network, or a table of weights by the names of its networks. classes: a file made by `adainf teach`, whose labels
    take the place of the networks' own; it brings its own profile, unless one is named.
    """

    backbone: Named | None = None
    run: tomlfile.NamedPath | None = None
    weights: Named | dict[Named, Named] | None = None
    labels: tuple[LabelText, ...] = ()
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    mean: Triple | None = None
    std: Triple | None = None
    profile: Named | None = None
    classes: tomlfile.NamedPath | None = None
    policy: Named = "balanced"
    engine: Named | None = None
    device: Named | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None


class EndpointSection(tomlfile.Section):
    """An address to publish at and its message format; a bare address publishes JSON."""

    address: Annotated[str, tomlfile.checked(endpoints.check)]
    format: endpoints.Format = "json"

    @model_validator(mode="before")
    @classmethod
    def _bare_address(cls, value: object) -> object:
        return {"address": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(core)]}


class PublishSection(tomlfile.Section):
    """The endpoints that results are published at, and the clients that may subscribe.

    key: the file with this box's CURVE key pair. clients: the folder with the public keys of allowed clients; the two
    go together and protect every port. unprotected: without them, allow ports that are reachable from other hosts.
    """

    bind: Annotated[tuple[EndpointSection, ...], Field(min_length=1)] = (EndpointSection(address=_USUAL_ENDPOINT),)
    key: tomlfile.NamedPath | None = None
    clients: tomlfile.NamedPath | None = None
    unprotected: bool = False
    host: Name = Field(default_factory=host_name)
    top: Annotated[int, Field(ge=1, le=100)] = 3

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints to bind."""
        return tuple(Endpoint(section.address, section.format) for section in self.bind)

    @model_validator(mode="after")
    def _protected(self) -> Self:
        if (self.key is None) != (self.clients is None):
            raise ValueError("key and clients go together: this box's keys, and the keys of those who may read")
        if self.key is None and not self.unprotected:
            with tomlfile.refusing():
                for endpoint in self.bind:
                    endpoints.check_local(endpoint.address)
        return self


class WebSection(tomlfile.Section):
    """Metrics, health and the status page over HTTP, without authentication; without this section, none are served.

    pictures: the cameras whose last picture the page shows. unprotected: allow an address that other hosts can reach.
    hosts: host names accepted in requests besides this box's own, such as those of a reverse proxy.
    """

    bind: str = "127.0.0.1:9600"
    pictures: tuple[Name, ...] = ()
    hosts: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    unprotected: bool = False

    @field_validator("bind")
    @classmethod
    def _an_address(cls, bind: str) -> str:
        split_address(bind)
        return bind

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_host, hosts)):
            raise ValueError("each must be a name or an address, without a port")
        return hosts

    @model_validator(mode="after")
    def _loopback_or_said(self) -> Self:
        if not self.unprotected and not ip_address(self.address[0]).is_loopback:
            raise ValueError(f"bind {self.bind!r} is open to the network: use 127.0.0.1, or say unprotected = true")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Address and port to bind."""
        return split_address(self.bind)


def split_address(bind: str) -> tuple[str, int]:
    """Split ADDRESS:PORT into its parts; raises ValueError if `bind` has another form."""
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not colon or not 0 <= number <= _HIGHEST_PORT:
        raise ValueError("must be ADDRESS:PORT, such as 127.0.0.1:9600 or [::1]:9600; port 0 takes any free one")
    return host, number


class EventsSection(tomlfile.Section):
    """The thresholds for events about a label, and for the state of a view with classes of its own.

    minimum_score: the score that a frame must reach to show the label. appear_seconds: the label appears, or is the
    state, once every frame has shown it for this long. gone_seconds: it is gone, or the state is unknown, once no frame
    has shown it for this long. stay_seconds: the interval of `stays` events in between.
    """

    minimum_score: Annotated[float, Field(ge=0.05, le=1, allow_inf_nan=False)] = 0.5
    appear_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 0.5
    gone_seconds: Annotated[float, Field(ge=0, le=86400, allow_inf_nan=False)] = 2.0
    stay_seconds: Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)] = 60.0

    def rule(self) -> PresenceRule:
        """Return the presence rule with these thresholds."""
        return PresenceRule(**self.model_dump())


class RecordSection(tomlfile.Section):
    """The trace of every frame's signals and decisions for `adainfd replay`; a reload starts, changes or ends it.

    file: absolute, or relative to the daemon's state folder; an existing trace is continued. megabytes: the file size
    at which recording ends.
    """

    file: Annotated[str, Field(min_length=1, max_length=4096)]
    megabytes: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1000.0


class CollectSection(tomlfile.Section):
    """The pictures of views with classes of their own that are kept for labelling; without this section, none are.

    pictures, megabytes: the most kept unsorted of each view. a_minute: the most kept anew of each view. margin: the
    lead of the likeliest label over the next below which a picture is kept. sample_seconds: the mean time between
    pictures kept by chance.
    """

    pictures: Annotated[int, Field(ge=1, le=2000)] = 200
    megabytes: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 40.0
    a_minute: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] = 6.0
    margin: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.3
    sample_seconds: Annotated[float, Field(ge=1, le=1_000_000, allow_inf_nan=False)] = 1800.0

    def rule(self) -> CollectRule:
        """Return the rule with these bounds."""
        return CollectRule(**self.model_dump())


class CameraSection(tomlfile.Section):
    """A camera: the path of a file, a folder of pictures, a device index or path, a named pipe, or a stream URL.

    password_file: holds the password of the user in a stream URL such as rtsp://USER@HOST/PATH.
    fps: the rate at which a file or a folder of pictures is played; a file defaults to its own rate. A single picture
    over HTTP is fetched at this rate, by default once.
    max_fps: the most frames per second to process. max_age: seconds after which a frame is dropped unanswered.
    max_megapixels: a larger JPEG is decoded at a smaller scale; any other larger picture is refused undecoded.
    regions: named parts of the picture, each recognised independently; by default the whole picture.
    classes: a file made by `adainf teach` for this camera's question, or a table of files by region.
    ignore: regions in which motion does not count, such as a clock in the picture or a tree in the wind.
    mask: polygons that are painted over before any other processing.
    policy, events: override the general ones for this camera.
    priority: the camera's share of turns, relative to others, when not every frame can be answered.
    transport: of RTSP. follow: further hosts, as HOST or HOST:PORT, that the source may refer to by redirects,
    playlists and descriptions. open_seconds, stall_seconds: time limits for opening and for the next frame.
    retry_seconds: the delay before a failed camera is retried, doubled up to longest_retry_seconds.
    """

    name: Name
    source: Annotated[str, Field(min_length=1, repr=False)]
    password_file: tomlfile.NamedPath | None = None
    loop: bool = False
    labels: tuple[LabelText, ...] = ()
    classes: tomlfile.NamedPath | dict[Name, tomlfile.NamedPath] | None = None
    fps: Rate | None = None
    max_fps: Rate | None = None
    max_megapixels: Annotated[float, Field(ge=0.01, le=178)] = 16.0
    max_age: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 2.0
    regions: dict[Name, Region] = Field(default_factory=dict, max_length=32)
    ignore: tuple[Region, ...] = ()
    mask: tuple[Polygon, ...] = ()
    policy: Named | None = None
    priority: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1.0
    events: EventsSection | None = None
    transport: Transport = "tcp"
    follow: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    open_seconds: Annotated[float, Field(ge=0.1, le=300, allow_inf_nan=False)] = 10.0
    stall_seconds: Annotated[float, Field(ge=0.1, le=300, allow_inf_nan=False)] = 5.0
    retry_seconds: Annotated[float, Field(ge=0.05, le=3600, allow_inf_nan=False)] = 1.0
    longest_retry_seconds: Annotated[float, Field(ge=0.05, le=3600, allow_inf_nan=False)] = 30.0

    @field_validator("source", mode="before")
    @classmethod
    def _index_as_text(cls, source: object) -> object:
        return str(source) if isinstance(source, int) and not isinstance(source, bool) else source

    @field_validator("source")
    @classmethod
    def _a_source(cls, source: str) -> str:
        with tomlfile.refusing():
            return Source.parse(source).address

    @field_validator("follow")
    @classmethod
    def _hosts(cls, follow: tuple[str, ...]) -> tuple[str, ...]:
        with tomlfile.refusing():
            for host in follow:
                follow_of(host)
        return follow

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.retry_seconds > self.longest_retry_seconds:
            longest = f"longest_retry_seconds {self.longest_retry_seconds}"
            raise ValueError(f"retry_seconds {self.retry_seconds} must not be above {longest}")
        return self

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if self.classes is not None and self.labels:
            raise ValueError("labels: are those of the networks; classes bring their own")
        if isinstance(self.classes, dict) and (unknown := sorted(self.classes.keys() - self.regions.keys())):
            raise ValueError(f"classes: {unknown[0]!r} is no region of this camera")
        return self

    @model_validator(mode="after")
    def _password_of_somebody(self) -> Self:
        if self.password_file is not None and not Source(self.source).lacks_password:
            raise ValueError("password_file: goes with a user in source, as in USER@HOST")
        return self

    def settings(self) -> CameraSettings:
        """Return the settings for the camera's subprocess; raises InvalidInputError if the password cannot be read."""
        source = Source(self.source)
        if self.password_file is not None:
            source = source.with_password(secretfile.password(self.password_file, f"camera {self.name}: password_file"))
        return CameraSettings(
            name=self.name,
            source=source,
            loop=self.loop,
            fps=self.fps,
            max_fps=self.max_fps,
            most_pixels=round(self.max_megapixels * PIXELS_A_MEGAPIXEL),
            max_age=self.max_age,
            ignored=self.ignore,
            mask=self.mask,
            regions=tuple(self.regions.values()),
            transport=self.transport,
            follow=self.follow,
            limits=Limits(
                open_seconds=self.open_seconds,
                stall_seconds=self.stall_seconds,
                retry_seconds=self.retry_seconds,
                longest_retry_seconds=self.longest_retry_seconds,
            ),
        )


class Configuration(tomlfile.Section):
    """The complete configuration of a daemon."""

    model: ModelSection = ModelSection()
    publish: PublishSection = Field(default_factory=PublishSection)
    web: WebSection | None = None
    record: RecordSection | None = None
    collect: CollectSection | None = None
    events: EventsSection = EventsSection()
    camera: Annotated[tuple[CameraSection, ...], Field(max_length=MOST_CAMERAS)] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [camera.name for camera in self.camera]
        if duplicates := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"camera names must differ: {', '.join(sorted(duplicates))} stands twice")
        if self.web is not None and (unknown := set(self.web.pictures) - set(names)):
            raise ValueError(f"web.pictures: no camera is called {', '.join(sorted(unknown))}")
        return self

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """Read a configuration file; raises InvalidInputError naming file, key, value and the allowed values."""
        return tomlfile.read(path, "configuration", cls)
