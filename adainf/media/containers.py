"""Metadata of video containers that OpenCV does not report."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["combined", "counts_frames", "is_cut_short", "orientation", "presented_seconds"]

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_MOVIE_KINDS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_UNFINISHED = (0, 0xFFFFFFFF)

_Matrix = tuple[float, float, float, float]
_UPRIGHT = (1.0, 0.0, 0.0, 1.0)
# EXIF orientation by the signs of a, b, c and d; the matrix maps pixel (x, y) to (a x + c y, b x + d y).
_ORIENTATIONS: dict[tuple[int, ...], int] = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}
_NEARLY_NOTHING = 0.01


def counts_frames(path: Path) -> bool:
    """Return whether the container stores its frame count; others only allow an estimate from their duration."""
    with path.open("rb") as file:
        return file.read(4) == b"RIFF" or _is_movie(file)


def is_cut_short(path: Path) -> bool:
    """Return whether the file is shorter than its container says; False if the container does not say."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(4)
        if head == b"RIFF":
            return any(end > size for end in _riff_ends(file, size))
        if head == _EBML:
            end = _segment_end(file)
            return end is not None and end > size
        return _is_movie(file) and any(end > size for _, _, end in _boxes(file, 0, size))


def orientation(path: Path) -> int | None:
    """Return the EXIF orientation (1 to 8) of an MP4 or QuickTime file's pictures; None for other files.

    OpenCV knows rotations only, and takes a mirrored picture for a rotated one.
    """
    with path.open("rb") as file:
        heads = _heads(file)
        if heads is None:
            return None
        movie, track = heads
        return combined(_matrix(file, track, 40, 52), _matrix(file, movie, 36, 48))


def presented_seconds(path: Path) -> float | None:
    """Return the presented duration in seconds of an MP4 or QuickTime file, after its edit list; None if not stored."""
    with path.open("rb") as file:
        heads = _heads(file)
        if heads is None:
            return None
        movie, track = heads
        scale = _number(file, movie, (12, 4), (20, 4))
        duration = _number(file, track, (20, 4), (28, 8))
        return duration / scale if scale and 0 < duration < 2**32 - 1 else None


def _heads(file: BinaryIO) -> tuple[int, int] | None:
    """Return the offsets of the contents of `mvhd` and of the first video track's `tkhd`."""
    size = file.seek(0, 2)
    if not _is_movie(file):
        return None
    movie = None
    for kind, start, end in _within(file, 0, size, b"moov"):
        if kind == b"mvhd":
            movie = start
        elif kind == b"trak" and movie is not None:
            parts = {part: (at, to) for part, at, to in _boxes(file, start, end)}
            if b"tkhd" in parts and _is_video(file, parts.get(b"mdia")):
                return movie, parts[b"tkhd"][0]
    return None


def _number(file: BinaryIO, start: int, field: tuple[int, int], field_64: tuple[int, int]) -> int:
    """Read a field (offset, bytes) of a box; its version byte selects between the 32-bit and 64-bit layout of times."""
    file.seek(start)
    offset, width = field_64 if file.read(1) == b"\1" else field
    file.seek(start + offset)
    return int.from_bytes(file.read(width), "big")


def _is_movie(file: BinaryIO) -> bool:
    file.seek(4)
    return file.read(4) in _MOVIE_KINDS


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box between two offsets, with the start of its content and its end."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        content = start + 8
        if length == 1 and len(head) == 16:
            length, content = struct.unpack(">Q", head[8:])[0], start + 16
        elif length == 0:  # extends to the end
            length = end - start
        if length < content - start or not kind.isalnum():
            return
        yield kind, content, start + length
        start += length


def _within(file: BinaryIO, start: int, end: int, wanted: bytes) -> Iterator[tuple[bytes, int, int]]:
    for kind, at, to in _boxes(file, start, end):
        if kind == wanted:
            yield from _boxes(file, at, min(to, end))


def _is_video(file: BinaryIO, media: tuple[int, int] | None) -> bool:
    for kind, at, _ in () if media is None else _boxes(file, *media):
        if kind == b"hdlr":
            file.seek(at + 8)
            return file.read(4) == b"vide"
    return False


def _matrix(file: BinaryIO, start: int, offset: int, offset_64: int) -> _Matrix:
    """Read the matrix of a box; its version byte selects between the 32-bit and 64-bit layout of times."""
    file.seek(start)
    version = file.read(1)
    file.seek(start + (offset_64 if version == b"\1" else offset))
    content = file.read(20)
    if len(content) < 20:
        return _UPRIGHT
    a, b, _, c, d = struct.unpack(">5i", content)
    return a, b, c, d


def combined(first: _Matrix, then: _Matrix) -> int:
    """Return the EXIF orientation of two matrices applied in order; 1 (upright) if the result is not one."""
    a, b, c, d = first
    e, f, g, h = then
    product = (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    largest = max(map(abs, product))
    return _ORIENTATIONS.get(
        tuple(0 if abs(value) <= _NEARLY_NOTHING * largest else 1 if value > 0 else -1 for value in product), 1
    )


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the end of each RIFF chunk of an AVI; stop at one that was never finished and so has no length."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in _UNFINISHED:
            return
        start += 8 + length
        yield start
        start += length % 2


def _segment_end(file: BinaryIO) -> int | None:
    file.seek(4)
    header = _length(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return None
    length = _length(file)
    return None if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """Read the length of a Matroska element; None if it is unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(extra)) & ((1 << 7 * (extra + 1)) - 1)
    return None if value == (1 << 7 * (extra + 1)) - 1 else value
