"""What a camera reads from: a video file, pictures in a folder, a device of this box or a stream."""

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from adainfd.capture.fault import Fault

__all__ = ["Kind", "Source", "SourceError", "Transport", "without_credentials"]

Transport = Literal["tcp", "udp"]

_NUMBERED = re.compile(r"%0?\d*d")


class SourceError(Exception):
    """A source cannot be opened or gives no picture; the message says which and why, `fault` in a word."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Kind(StrEnum):
    """How a source behaves: files and pictures wait for their reader, a device or stream does not."""

    FILE = "file"
    PICTURES = "pictures"
    DEVICE = "device"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Source:
    """The address of a camera.

    A video file's path; a folder of pictures, or their names with `*` or `%04d` in them; a device's index or path; a
    stream's URL.
    """

    address: str

    @property
    def kind(self) -> Kind:
        """What the address names."""
        if "://" in self.address:
            return Kind.STREAM
        if self.address.isdigit() or self.address.startswith(("/dev/video", "/dev/v4l")):
            return Kind.DEVICE
        # False, and no error, of a path that may not be looked at or can be none.
        pictures = "*" in self.address or _NUMBERED.search(self.address) or os.path.isdir(self.address)  # noqa: PTH112
        return Kind.PICTURES if pictures else Kind.FILE

    @property
    def live(self) -> bool:
        """Whether it goes on without its reader, and never ends of itself."""
        return self.kind in (Kind.DEVICE, Kind.STREAM)

    @property
    def stem(self) -> str:
        """A camera's name where the owner gives none."""
        if self.kind is Kind.STREAM:
            return re.sub(r"[^A-Za-z0-9_.-]+", "-", without_credentials(self.address).partition("://")[2]).strip("-")
        path = Path(self.address)
        if self.kind is Kind.PICTURES and not path.is_dir():
            path = path.parent
        stem = f"camera{self.address}" if self.address.isdigit() else path.stem
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem) or "camera"

    def pictures(self) -> list[Path]:
        """The files of a source of pictures, in the order of the numbers in their names."""
        path = Path(self.address)
        if path.is_dir():
            from adainf.images import SUFFIXES

            files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
        else:
            files = list(path.parent.glob(_NUMBERED.sub("[0-9]*", path.name)))
        return sorted((file for file in files if file.is_file()), key=_by_numbers)

    def __str__(self) -> str:
        return without_credentials(self.address)

    def __repr__(self) -> str:
        return f"Source({str(self)!r})"


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    """Orders 2.jpg before 10.jpg."""
    parts = re.findall(r"\d+|\D+", file.name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]


def without_credentials(address: str) -> str:
    """The address as it may be shown: a URL's user and password are left out, before the host and in parameters.

    Passwords hold @ and / too, and every maker of cameras names the parameter otherwise: rather too much is hidden.
    """
    if "://" not in address:
        return address
    return re.sub(r"=[^&]*", "=***", re.sub(r"(?<=://).*@", "***@", address))
