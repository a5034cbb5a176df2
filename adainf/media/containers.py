"""What a video's file says of itself that OpenCV does not tell."""

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
# Where the signs of a, b, c and d send a pixel (x, y): to (a x + c y, b x + d y). As EXIF numbers the outcome.
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
    """Whether the container holds the number of its frames; others only let it be estimated from their length."""
    with path.open("rb") as file:
        return file.read(4) == b"RIFF" or _is_movie(file)


def is_cut_short(path: Path) -> bool:
    """Whether the file ends before its container does; False where the container does not say how long it is."""
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
    """How an MP4 or QuickTime file's pictures are turned and mirrored, as EXIF numbers it; None for other files.

    OpenCV knows of turns alone, and takes a mirrored picture for a turned one.
    """
    with path.open("rb") as file:
        heads = _heads(file)
        if heads is None:
            return None
        movie, track = heads
        return combined(_matrix(file, track, 40, 52), _matrix(file, movie, 36, 48))


def presented_seconds(path: Path) -> float | None:
    """How long an MP4 or QuickTime file is shown, without what its edit list leaves out; None where it does not say."""
    with path.open("rb") as file:
        heads = _heads(file)
        if heads is None:
            return None
        movie, track = heads
        scale = _number(file, movie, (12, 4), (20, 4))
        duration = _number(file, track, (20, 4), (28, 8))
        return duration / scale if scale and 0 < duration < 2**32 - 1 else None


def _heads(file: BinaryIO) -> tuple[int, int] | None:
    """Where the heads of the movie and of its first video track begin."""
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


def _number(file: BinaryIO, start: int, place: tuple[int, int], place_of_64_bits: tuple[int, int]) -> int:
    """A number at a place (offset, bytes) of a box whose times have 32 or 64 bits, as its first byte tells."""
    file.seek(start)
    offset, width = place_of_64_bits if file.read(1) == b"\1" else place
    file.seek(start + offset)
    return int.from_bytes(file.read(width), "big")


def _is_movie(file: BinaryIO) -> bool:
    file.seek(4)
    return file.read(4) in _MOVIE_KINDS


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes in this part of a file: their kind, and where their content starts and they end."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        content = start + 8
        if length == 1 and len(head) == 16:
            length, content = struct.unpack(">Q", head[8:])[0], start + 16
        elif length == 0:  # up to the end
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


def _matrix(file: BinaryIO, start: int, offset: int, offset_of_64_bits: int) -> _Matrix:
    """Of a box whose times have 32 or 64 bits, as its first byte tells."""
    file.seek(start)
    version = file.read(1)
    file.seek(start + (offset_of_64_bits if version == b"\1" else offset))
    content = file.read(20)
    if len(content) < 20:
        return _UPRIGHT
    a, b, _, c, d = struct.unpack(">5i", content)
    return a, b, c, d


def combined(first: _Matrix, then: _Matrix) -> int:
    """The orientation, as EXIF numbers it, that two changes of places come to; upright where that is no such thing."""
    a, b, c, d = first
    e, f, g, h = then
    both = (a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)
    largest = max(map(abs, both))
    return _ORIENTATIONS.get(
        tuple(0 if abs(value) <= _NEARLY_NOTHING * largest else 1 if value > 0 else -1 for value in both), 1
    )


def _riff_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where each of an AVI's parts ends; one that was never finished says no length."""
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
    """The length of a Matroska element; None where it is open."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more)) & ((1 << 7 * (more + 1)) - 1)
    return None if value == (1 << 7 * (more + 1)) - 1 else value
