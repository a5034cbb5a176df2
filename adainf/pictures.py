"""One picture: from a file's bytes to pixels, as it is meant to be shown."""

import contextlib
import io
import stat
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.undecodable import UndecodableError
from adainf.upright import AS_STORED, Showing, aspect_of

__all__ = ["MOST_PIXELS", "SUFFIXES", "Header", "check_header", "decode", "decoded", "header"]

SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

MOST_PIXELS = 178_956_970
"""What Pillow too takes for an attack above: half a gigabyte as it is decoded."""

_MOST_BYTES = 2**30
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = range(1, 9)
_TRANSPOSED = 5
# What OpenCV makes of an orientation is right for JPEG, PNG and WebP, and missing for AVIF; a TIFF it always turns.
_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


# On heads that are broken.
_PILLOW_RAISES = (
    *(OSError, EOFError, SyntaxError, struct.error, ValueError, OverflowError),
    *(TypeError, KeyError, IndexError, RuntimeError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class Header:
    """A picture's head. width, height: as stored."""

    width: int
    height: int
    showing: Showing
    turned_by_opencv: bool


def decode(path: Path) -> NDArray[np.uint8]:
    """The picture (height, width, 3), BGR, upright and with square pixels; of an animated one the first.

    Raises UndecodableError naming a file that cannot be read or is none.
    """
    with _reading(path) as file:
        content = file.read()
    return decoded(content, path)


def check_header(path: Path) -> None:
    """Raise UndecodableError on a file that cannot be read, has no picture's head, or one of a giant."""
    with _reading(path) as file:
        head = header(file, path)
    # OpenCV takes the name of a file alone, and no name that is not UTF-8.
    if head is None and not (path.name.isprintable() and _has_reader(path)):
        raise UndecodableError(path, "is no picture")


def _has_reader(path: Path) -> bool:
    try:
        return cv2.haveImageReader(str(path))
    except cv2.error:  # an empty file
        return False


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        told = path.stat()
        if not stat.S_ISREG(told.st_mode):
            raise UndecodableError(path, "is no file")
        if told.st_size > _MOST_BYTES:
            raise UndecodableError(path, "is larger than 1 GiB")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UndecodableError(path, f"cannot be read ({error.strerror})") from None
    except MemoryError:
        raise UndecodableError(path, "cannot be read (there is not enough memory)") from None


def decoded(content: bytes, origin: object, aspect: float | None = None) -> NDArray[np.uint8]:
    """The same of a file's bytes; origin: named in errors. aspect: of the pixels, None where the picture tells it."""
    head = header(io.BytesIO(content), origin)
    showing = AS_STORED if head is None else head.showing
    showing = showing if aspect is None else replace(showing, aspect=aspect)
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), _AS_STORED) if content else None
        if found is None:
            raise UndecodableError(origin, "cannot be decoded")
        picture = found.astype(np.uint8, copy=False)
        if head is None or not head.turned_by_opencv:
            return showing.apply(picture)
        if showing.turns_aside:
            return replace(showing, orientation=_TRANSPOSED).apply(Showing(_TRANSPOSED).apply(picture))
        return replace(showing, orientation=1).apply(picture)
    except (cv2.error, MemoryError) as error:
        raise UndecodableError(origin, f"cannot be decoded ({_why(error)})") from None


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem:
        return "there is not enough memory"
    return "OpenCV refuses it"


def header(content: BinaryIO, origin: object) -> Header | None:
    """What a picture says of itself before it is decoded; None where only OpenCV may know the format.

    Raises UndecodableError on one of more than MOST_PIXELS.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is large, and of metadata that is broken
        try:
            with Image.open(content) as opened:
                width, height = opened.size
                _refuse_giant(origin, f"of {width} × {height} pixels", width * height)
                return Header(
                    width,
                    height,
                    Showing(_orientation(opened), _aspect(opened)),
                    turned_by_opencv=opened.format == "TIFF",
                )
        except Image.DecompressionBombError:
            _refuse_giant(origin, "too large", MOST_PIXELS + 1)
        except _PILLOW_RAISES:
            pass  # OpenCV has the last word
    return None


def _refuse_giant(origin: object, how_large: str, pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise UndecodableError(origin, f"is {how_large}; at most {MOST_PIXELS:,} pixels are read")


def _orientation(opened: Any) -> int:
    if opened.format == "TIFF":  # the tag is no part of its EXIF data as long as it is not loaded
        tag = opened.tag_v2.get(_ORIENTATION_TAG)
    elif opened.format == "PNG":
        tag = _png_orientation(opened.fp)
    else:
        tag = opened.getexif().get(_ORIENTATION_TAG)
    return tag if tag in _ORIENTATIONS else 1


def _png_orientation(file: BinaryIO) -> int | None:
    """Where the data may come behind the pixels, Pillow decodes those first; this only looks for it."""
    from PIL import Image

    start = 8
    while True:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"eXIf":
            exif = Image.Exif()
            exif.load(file.read(length))
            return exif.get(_ORIENTATION_TAG)
        if kind == b"IEND":
            return None
        start += 12 + length


def _aspect(opened: Any) -> float:
    """Of the pixels: densities are pixels a length, but JPEG's without a unit are taken as width and height."""
    across, down = _density(opened)
    return aspect_of(float(down), float(across))


def _density(opened: Any) -> tuple[Any, Any]:
    told = opened.info
    if opened.format == "JPEG":
        across, down = told.get("jfif_density", (1, 1))
        return (down, across) if told.get("jfif_unit") == 0 else (across, down)
    if opened.format == "PNG" and "aspect" in told:
        return tuple(told["aspect"])[:2]
    return tuple(told.get("dpi", (1, 1)))[:2]
