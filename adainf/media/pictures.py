"""Decoding of a single picture: from a file's bytes to upright square pixels."""

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
# Cameras and editors write about ten; each costs a pass over all coefficients.
_MOST_SCANS = 64
# libjpeg decodes to 1/2, 1/4 and 1/8 of the sides in less time and memory than the full size.
_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
_LIMIT_OF_OPENCV = "CV_IO_MAX_IMAGE_"  # part of its error messages
_TILE_WIDTH_TAG, _TILE_LENGTH_TAG = 322, 323
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = range(1, 9)
_TRANSPOSED = 5
# Raised on broken headers.
_PILLOW_RAISES = (
    *(OSError, EOFError, SyntaxError, struct.error, ValueError, OverflowError),
    *(TypeError, KeyError, IndexError, RuntimeError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """A picture's header. width, height: as stored, in pixels."""

    width: int
    height: int
    showing: Showing
    turned_by_opencv: bool


def decode(path: Path, most_pixels: int = MOST_PIXELS) -> NDArray[np.uint8]:
    """Decode a file to a BGR picture (height, width, 3), upright and with square pixels.

    Of an animation, decode the first picture. most_pixels: see `decoded`. Raises UndecodableError, which names the
    file, if it cannot be read or decoded.
    """
    with _reading(path) as file:
        content = file.read()
    return decoded(content, path, most_pixels=most_pixels)


def check_header(path: Path) -> None:
    """Raise UndecodableError if a file cannot be read, has no picture's header, or holds too large a picture."""
    with _reading(path) as file:
        head = header(file, path)
    # OpenCV accepts nothing but a file name here, and only one in UTF-8.
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
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UndecodableError(path, "is no file")
        if status.st_size > _MOST_BYTES:
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
    """Decode a file's bytes to a BGR picture (height, width, 3), upright and with square pixels.

    origin: named in errors. aspect: width over height of a pixel; None takes it from the picture. most_pixels: a larger
    JPEG, up to MOST_PIXELS, is decoded at 1/2, 1/4 or 1/8 of its sides; any other larger picture is refused before
    decoding. Raises UndecodableError.
    """
    reduction = _reduction(content, origin, most_pixels)
    head = header(io.BytesIO(content), origin, MOST_PIXELS if reduction else most_pixels)
    showing = AS_STORED if head is None else head.showing
    showing = showing if aspect is None else replace(showing, aspect=aspect)
    # OpenCV applies the orientation of JPEG, PNG and WebP correctly, ignores that of AVIF, and always rotates a TIFF.
    flags = _REDUCED.get(reduction, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
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
    """Return the divisor of a JPEG's sides for decoding; 0 for full size, and for other formats.

    Raises UndecodableError if the JPEG is still too large at 1/8 or has too many scans.
    """
    frame = jpeg.frame(content)
    if frame is None:
        return 0
    size = frame.width, frame.height
    refuse_giant(origin, *size, MOST_PIXELS)
    if frame.whole_in_memory:  # reduction does not shrink the memory for its coefficients
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
    """Read a picture's header without decoding it; None if Pillow cannot, though OpenCV may still know the format.

    Raises UndecodableError on a picture of more than `most_pixels`.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about large pictures and broken metadata
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
    """Raise UndecodableError if a picture of this size has more than `most_pixels`."""
    if width * height > most_pixels:
        raise _giant(origin, width, height, most_pixels)


def _giant(origin: object, width: int, height: int, most_pixels: int) -> UndecodableError:
    return UndecodableError(origin, f"is of {width} × {height} pixels; {_allowed(most_pixels)}")


def _allowed(most_pixels: int) -> str:
    return f"at most {most_pixels / 1e6:.4g} megapixels are read"


def _tile(opened: Any) -> tuple[int, int]:
    """Return the tile size of a TIFF: a tile is decoded whole, and may be larger than the picture."""
    if opened.format != "TIFF":
        return 0, 0
    width, height = (opened.tag_v2.get(tag, 0) for tag in (_TILE_WIDTH_TAG, _TILE_LENGTH_TAG))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def _orientation(opened: Any) -> int:
    if opened.format == "TIFF":  # its EXIF data lacks the tag until the picture is loaded
        tag = opened.tag_v2.get(_ORIENTATION_TAG)
    elif opened.format == "PNG":
        tag = _png_orientation(opened.fp)
    else:
        tag = opened.getexif().get(_ORIENTATION_TAG)
    return tag if tag in _ORIENTATIONS else 1


def _png_orientation(file: BinaryIO) -> int | None:
    """Find the orientation in a PNG's chunks: EXIF data may follow the pixels, which Pillow would decode first."""
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
    """Return width over height of a pixel from densities in pixels per length.

    Densities of a JPEG without a unit are read as a pixel's width and height.
    """
    across, down = _density(opened)
    return aspect_of(float(down), float(across))


def _density(opened: Any) -> tuple[Any, Any]:
    info = opened.info
    if opened.format == "JPEG":
        across, down = info.get("jfif_density", (1, 1))
        return (down, across) if info.get("jfif_unit") == 0 else (across, down)
    if opened.format == "PNG" and "aspect" in info:
        return tuple(info["aspect"])[:2]
    return tuple(info.get("dpi", (1, 1)))[:2]
