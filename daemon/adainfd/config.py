"""The configuration file of a daemon (TOML), `/etc/adainf/NAME.toml`."""

import socket
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from adainf.errors import InvalidInputError
from adainfd import tomlfile
from adainfd.wire import endpoint as endpoints

__all__ = ["CameraSection", "Configuration", "ModelSection", "PublishSection"]

Triple = tuple[float, float, float]
Edge = Annotated[float, Field(ge=0, le=1)]


def _has_area(region: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = region
    if left >= right or top >= bottom:
        raise ValueError("must be [left, top, right, bottom] with left < right and top < bottom, fractions from 0 to 1")
    return region


Region = Annotated[tuple[Edge, Edge, Edge, Edge], AfterValidator(_has_area)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]


class ModelSection(tomlfile.Section):
    """Which network recognises, with which weights, within which budgets.

    run: a folder made by `adainf train`, or a shipped run's name. backbone, profile: default to the run's, without a
    run to timm/tf_efficientnet_lite0 and the shipped profile efficientnet-lite0.
    """

    backbone: str | None = None
    run: str | None = None
    weights: str | None = None
    labels: tuple[str, ...] = ()
    size: Annotated[int, Field(ge=8, le=4096)] | None = None
    mean: Triple | None = None
    std: Triple | None = None
    profile: str | None = None
    policy: str = "balanced"
    engine: str | None = None
    device: str | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None


class PublishSection(tomlfile.Section):
    """Where results go."""

    bind: Annotated[tuple[str, ...], Field(min_length=1)] = ("tcp://127.0.0.1:5600",)
    host: Name = Field(default_factory=lambda: socket.gethostname() or "localhost")
    top: Annotated[int, Field(ge=1, le=100)] = 3

    @field_validator("bind")
    @classmethod
    def _well_formed(cls, bind: tuple[str, ...]) -> tuple[str, ...]:
        for endpoint in bind:
            try:
                endpoints.check(endpoint)
            except InvalidInputError as error:
                raise ValueError(str(error)) from None
        return bind


class CameraSection(tomlfile.Section):
    """A camera: a file's path, a device's index or path, or a stream's address.

    ignore: regions in which nothing counts as motion, such as a clock in the picture or a tree in the wind.
    """

    name: Name
    source: Annotated[str, Field(min_length=1)]
    loop: bool = False
    labels: tuple[str, ...] = ()
    ignore: tuple[Region, ...] = ()

    @field_validator("source", mode="before")
    @classmethod
    def _index_as_text(cls, source: object) -> object:
        return str(source) if isinstance(source, int) and not isinstance(source, bool) else source


class Configuration(tomlfile.Section):
    """All that a daemon is told."""

    model: ModelSection = ModelSection()
    publish: PublishSection = Field(default_factory=PublishSection)
    camera: tuple[CameraSection, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [camera.name for camera in self.camera]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"camera names must differ: {', '.join(sorted(twice))} stands twice")
        return self

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """Read a configuration file; raises InvalidInputError naming file, key, value and what is allowed."""
        return tomlfile.read(path, "configuration", cls)
