"""The display orientation of H.264 and H.265 pictures, from an optional SEI message of the encoder."""

from collections.abc import Iterator

from adainf.media.containers import combined

__all__ = ["CODECS", "orientation"]

CODECS = {b"h264": False, b"H264": False, b"avc1": False, b"X264": False, b"x264": False}
CODECS |= {b"hevc": True, b"hev1": True, b"hvc1": True, b"HEVC": True}
"""FourCCs of codecs with SEI messages, and whether each is H.265."""

_DISPLAY_ORIENTATION = 47
_MESSAGES, _MESSAGES_265 = (6,), (39, 40)
_QUARTER = 1 << 14
_TURNS = ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))  # counterclockwise


def orientation(packet: bytes, *, h265: bool) -> int | None:
    """Return the EXIF orientation from a packet (Annex B), or None if it has none."""
    for unit in packet.split(b"\0\0\1"):
        for kind, content in _messages(unit, h265=h265):
            if kind == _DISPLAY_ORIENTATION and len(content) >= 3:
                return _orientation(int.from_bytes(content[:3], "big"))
    return None


def _orientation(bits: int) -> int | None:
    cancelled, across, down, angle = bits >> 23, bits >> 22 & 1, bits >> 21 & 1, bits >> 5 & 0xFFFF
    turns, rest = divmod(angle, _QUARTER)
    if cancelled or rest:
        return None
    return combined((-1 if across else 1, 0, 0, -1 if down else 1), _TURNS[turns])


def _messages(unit: bytes, *, h265: bool) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and content of each SEI message in a NAL unit."""
    head = 2 if h265 else 1
    if len(unit) <= head or (unit[0] >> 1 & 63 if h265 else unit[0] & 31) not in (_MESSAGES_265 if h265 else _MESSAGES):
        return
    content = unit[head:].replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 < len(content):
        kind, at = _number(content, at)
        length, at = _number(content, at)
        yield kind, content[at : at + length]
        at += length


def _number(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    while at < len(content) and content[at] == 0xFF:
        value, at = value + 0xFF, at + 1
    return (value + content[at], at + 1) if at < len(content) else (value, at)
