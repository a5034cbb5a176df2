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

from adainf.media import MOST_PIXELS, jpeg
from adainf.media.undecodable import UndecodableError
from adainf.media.upright import AS_STORED, Showing, aspect_of

__all__ = ["MOST_PIXELS", "SUFFIXES", "PictureHeader", "check_header", "decode", "decoded", "header", "refuse_giant"]

SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_MOST_BYTES = 2**30
# Cameras and editors write ten or so; each costs a pass over all coefficients.
_MOST_SCANS = 64
# How libjpeg decodes to a half, a quarter and an eighth of the side, in less time and memory than the whole.
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_LIMIT_OF_OPENCV = "CV_IO_MAX_IMAGE_"  # stands in its refusals
_TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 322, 323
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = range(1, 9)
_TRANSPOSED = 5
# On heads that are broken.
_PILLOW_RAISES = (
    *(OSError, EOFError, SyntaxError, struct.error, ValueError, OverflowError),
    *(TypeError, KeyError, IndexError, RuntimeError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """A picture's head. width, height: as stored."""

    width: int
    height: int
    showing: Showing
    turned_by_opencv: bool


def decode(path: Path, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """The picture (height, width, 3), BGR, upright and with square pixels; of an animated one the first.

    most_pixels: as `decoded` takes it. Raises UndecodableError naming a file that cannot be read or is none.
    """
    with _reading(path) as file:
        content = file.read()
    return decoded(content, path, most_pixels=most_pixels)


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


def decoded(
    content: bytes, origin: object, aspect: float | None = None, most_pixels: int = MOST_PIXELS
) -> NDArray[np.uint8]:
    """The same of a file's bytes; origin: named in errors. aspect: of the pixels, None where the picture tells it.

    most_pixels: a JPEG of more, up to MOST_PIXELS, is decoded at a half, a quarter or an eighth of its sides; any other
    is refused before it is decoded.
    """
    reduction = _reduction(content, origin, most_pixels)
    head = header(io.BytesIO(content), origin, MOST_PIXELS if reduction else most_pixels)
    showing = AS_STORED if head is None else head.showing
    showing = showing if aspect is None else replace(showing, aspect=aspect)
    # What OpenCV makes of an orientation is right for JPEG, PNG and WebP, missing for AVIF; a TIFF it always turns.
    way = _REDUCED.get(reduction, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), way) if content else None
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


def _reduction(content: bytes, origin: object, most_pixels: int) -> int:
    """By how much the sides of a JPEG are divided as it is decoded; 0 for the whole of it, and of what is no JPEG.

    Raises UndecodableError where it is a giant all the same.
    """
    frame = jpeg.frame(content)
    if frame is None:
        return 0
    size = frame.width, frame.height
    refuse_giant(origin, *size, MOST_PIXELS)
    if frame.whole_in_memory:  # its coefficients take as much memory, whatever they are decoded to
        refuse_giant(origin, *size, most_pixels)
        if (scans := jpeg.scans(content)) > _MOST_SCANS:
            raise UndecodableError(origin, f"is a JPEG of {scans} scans; at most {_MOST_SCANS} are read")
    if frame.width * frame.height <= most_pixels:
        return 0
    for divisor in _REDUCED:
        width, height = (-(-side // divisor) for side in size)
        if width * height <= most_pixels:
            return divisor
    raise _giant(origin, *size, most_pixels)


def _why(error: Exception) -> str:
    if isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem:
        return "there is not enough memory"
    if _LIMIT_OF_OPENCV in str(error):
        return "it is too large"
    return "OpenCV refuses it"


def header(content: BinaryIO, origin: object, most_pixels: int = MOST_PIXELS) -> PictureHeader | None:
    """What a picture says of itself before it is decoded; None where only OpenCV may know the format.

    Raises UndecodableError on one of more than `most_pixels`.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is large, and of metadata that is broken
        try:
            with Image.open(content) as opened:
                width, height = opened.size
                refuse_giant(origin, width, height, most_pixels)
                refuse_giant(origin, *_tile(opened), most_pixels)
                return PictureHeader(
                    width,
                    height,
                    Showing(_orientation(opened), _aspect(opened)),
                    turned_by_opencv=opened.format == "TIFF",
                )
        except Image.DecompressionBombError:
            raise UndecodableError(origin, f"is too large; {_allowed(most_pixels)}") from None
        except _PILLOW_RAISES:
            pass  # OpenCV has the last word
    return None


def refuse_giant(origin: object, width: int, height: int, most_pixels: int = MOST_PIXELS) -> None:
    """Raise UndecodableError where this is the size of a picture that is too large."""
    if width * height > most_pixels:
        raise _giant(origin, width, height, most_pixels)


def _giant(origin: object, width: int, height: int, most_pixels: int) -> UndecodableError:
    return UndecodableError(origin, f"is of {width} × {height} pixels; {_allowed(most_pixels)}")


def _allowed(most_pixels: int) -> str:
    return f"at most {most_pixels / 1e6:.4g} megapixels are read"


def _tile(opened: Any) -> tuple[int, int]:
    """Of a TIFF; one tile may be larger than the picture, and is decoded as a whole."""
    if opened.format != "TIFF":
        return 0, 0
    width, height = (opened.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH_TAG, _TILE_LENGTH_TAG))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


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
