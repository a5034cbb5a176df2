"""JPEG headers, parsed like libjpeg: size and coding of a picture before any decoding."""

from dataclasses import dataclass

__all__ = ["JpegHead", "frame", "scans"]

_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # without DHT, JPG and DAC
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_SHORTEST = 2


@dataclass(frozen=True, slots=True)
class JpegHead:
    """The size of a JPEG as stored, in pixels.

    whole_in_memory: it has several scans, so libjpeg keeps all coefficients in memory.
    """

    width: int
    height: int
    whole_in_memory: bool


def frame(content: bytes) -> JpegHead | None:
    """Return the frame header of a JPEG; None if `content` is not a JPEG, or libjpeg would find no frame in it."""
    if content[:2] != bytes((0xFF, _START)):
        return None
    at, found = 2, None
    while (at := _behind_marker(content, at)) > 0:
        marker = content[at - 1]
        length = int.from_bytes(content[at : at + 2])
        if marker in _FRAMES and found is None:
            if len(content) < at + 8:
                return None
            height, width = int.from_bytes(content[at + 3 : at + 5]), int.from_bytes(content[at + 5 : at + 7])
            found = (width, height, marker in _PROGRESSIVE, content[at + 7])
        elif marker == _SCAN and found is not None:
            width, height, progressive, components = found
            return JpegHead(width, height, progressive or content[at + 2 : at + 3] < bytes((components,)))
        elif marker in (_SCAN, _END, _START) or marker in _FRAMES:
            return None
        at += 0 if marker in _WITHOUT_LENGTH else max(_SHORTEST, length)
    return None


def _behind_marker(content: bytes, at: int) -> int:
    """Return the end of the next marker, skipping other bytes as libjpeg does; 0 if there is none."""
    at = content.find(b"\xff", at)
    while 0 <= at < len(content) - 1:
        following = content[at + 1]
        if following not in (0x00, 0xFF):
            return at + 2
        at = at + 1 if following == 0xFF else content.find(b"\xff", at + 2)
    return 0


def scans(content: bytes) -> int:
    """Return an upper bound of a JPEG's scans; each, however short, costs a pass over the whole picture."""
    return content.count(bytes((0xFF, _SCAN)))
