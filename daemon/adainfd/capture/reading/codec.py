"""Errors about undecodable videos that name the codec, so that the owner can choose another."""

from pathlib import Path

from adainf.media import captures
from adainfd.capture.fault import Fault
from adainfd.capture.source import Source, SourceError

__all__ = ["name_of", "no_picture", "not_opened"]

_UNDECODED = -1
# Read this many bytes at each end: a container lists its streams at its beginning, or at its end if written in one go.
_LOOKED_AT = 1 << 18
_SOUND = (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf1", b"fLaC", b"#!AMR")


def name_of(fourcc: int) -> str | None:
    """Return the codec name in a FOURCC code; None if it contains none."""
    name = (fourcc & 0xFFFFFFFF).to_bytes(4, "little").decode("latin-1").rstrip("\0 ")
    return name if fourcc > 0 and name and name.isascii() and name.isprintable() else None


def no_picture(source: Source, codec: str | None) -> SourceError:
    """Return the error for a source that opens but yields no picture."""
    of_codec = "" if codec is None else f" of its codec {codec}"
    return SourceError(
        Fault.NO_PICTURE, f"source {source}: opens, but holds no picture{of_codec} that OpenCV can decode"
    )


def not_opened(source: Source) -> SourceError:
    """Return the error for a file that OpenCV cannot open."""
    import cv2

    if Path(source.path).stat().st_size == 0:
        return SourceError(Fault.NOT_VIDEO, f"source {source}: is not a video, it is empty")
    # Opened without a decoder, OpenCV reports the codec even if it cannot decode it.
    raw = captures.opened_file(source.path, [cv2.CAP_PROP_FORMAT, _UNDECODED])
    try:
        if raw.isOpened():
            named = name_of(int(raw.get(cv2.CAP_PROP_FOURCC)))
            of_codec = "" if named is None else f" {named}"
            return SourceError(Fault.UNKNOWN_CODEC, f"source {source}: OpenCV cannot decode its codec{of_codec}")
    finally:
        raw.release()
    if _is_sound(Path(source.path)):
        return SourceError(Fault.NOT_VIDEO, f"source {source}: holds sound, and no video")
    return SourceError(Fault.CANNOT_OPEN, f"source {source}: is not a video that OpenCV can read")


def _is_sound(path: Path) -> bool:
    with path.open("rb") as file:
        data = file.read(_LOOKED_AT)
        if (rest := path.stat().st_size - _LOOKED_AT) > 0:
            file.seek(max(rest, _LOOKED_AT))
            data += file.read(_LOOKED_AT)
    match data[:4]:
        case b"RIFF":
            return data[8:12] == b"WAVE"
        case b"OggS":
            return any(name in data for name in (b"vorbis", b"OpusHead", b"Speex")) and b"theora" not in data
        case b"\x1aE\xdf\xa3":  # Matroska, WebM
            return b"A_" in data and b"V_" not in data
    return data.startswith(_SOUND) or (data[4:8] == b"ftyp" and b"soun" in data and b"vide" not in data)
