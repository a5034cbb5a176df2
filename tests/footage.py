"""Pictures and videos that say how they are to be shown, and damaged ones."""

import io
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 160, 96
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", "-bf", "0")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "3")
MJPEG = ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def corners() -> NDArray[np.uint8]:
    """A picture, BGR, whose corners tell which way up it is."""
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    picture[:40, :60] = 230
    picture[:40, 100:] = (40, 40, 220)
    picture[56:, :60] = (40, 200, 40)
    return picture


def meant(orientation: int = 1, aspect: float = 1.0) -> NDArray[np.uint8]:
    """What is meant by `corners` stored with this orientation, as EXIF numbers it, and pixels so wide."""
    picture = Image.fromarray(corners()).resize((round(WIDTH * aspect), HEIGHT))
    return np.asarray(picture if orientation == 1 else picture.transpose(_TRANSPOSES[orientation]))


def alike(picture: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether they show the same, but for what compression does."""
    if picture.shape != other.shape:
        return False
    difference = np.abs(picture.astype(np.int16) - other.astype(np.int16))
    return bool(difference.mean() < 8)


def still(kind: str, orientation: int = 1, density: tuple[int, int] | None = None) -> bytes:
    """`corners` as a file of this kind: jpeg, png, webp, tiff, avif, gif or bmp."""
    told: dict[str, object] = {}
    if kind == "tiff":
        told["tiffinfo"] = {_ORIENTATION: orientation}
    elif kind not in ("gif", "bmp"):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        told["exif"] = exif
    if density is not None:
        told["dpi"] = density
    if kind in ("jpeg", "webp", "avif"):
        told["quality"] = 95
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(corners()[:, :, ::-1])).save(file, kind.upper(), **told)
    return file.getvalue()


def giant_png(width: int = 60_000, height: int = 60_000) -> bytes:
    """A few bytes whose head claims a picture of this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg; skips the test where it is missing."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def footage(path: Path, *options: str, frames: int = 10, source: Path | None = None) -> Path:
    """A video of `corners`, or of another source, as ffmpeg makes it with these options."""
    if source is None:
        source = path.with_name(f"{path.name}.source.avi")
        writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
        for _ in range(frames):
            writer.write(corners())
        writer.release()
    ffmpeg("-i", source, *options, path)
    return path


def turned(path: Path, orientation: int) -> Path:
    """The same MP4 file with a display matrix that says so; the copy stands beside it."""
    a, b, c, d = {
        1: (1, 0, 0, 1),
        2: (-1, 0, 0, 1),
        3: (-1, 0, 0, -1),
        4: (1, 0, 0, -1),
        5: (0, 1, 1, 0),
        6: (0, 1, -1, 0),
        7: (0, -1, -1, 0),
        8: (0, -1, 1, 0),
    }[orientation]
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    one = 1 << 16
    content[start : start + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    made = path.with_name(f"turned-{orientation}{path.suffix}")
    made.write_bytes(content)
    return made


def with_zeros(path: Path, number: int, count: int = 600) -> Path:
    """A copy of a Motion JPEG file whose picture `number` (from 1) begins with so many zeros."""
    content = bytearray(path.read_bytes())
    start = -1
    for _ in range(number):
        start = content.index(b"\xff\xd8\xff", start + 1)
    content[start : start + count] = bytes(count)
    made = path.with_name(f"zeros-{number}-{path.name}")
    made.write_bytes(content)
    return made


def with_noise(path: Path, at: float, count: int = 1500) -> Path:
    """A copy of a video file with noise at a part of its length."""
    content = bytearray(path.read_bytes())
    start = int(at * len(content))
    content[start : start + count] = np.random.default_rng(0).bytes(count)
    made = path.with_name(f"noise-{path.name}")
    made.write_bytes(content)
    return made
