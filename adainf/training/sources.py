"""What training learns from: folders of pictures and video files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf import files, images
from adainf.backbones import Classes
from adainf.errors import InvalidInputError

__all__ = ["MOST_FRAMES", "Source", "open_sources"]

MOST_FRAMES = 1000
"""Frames taken of a video, evenly spread: more of the same scene teach little."""

_LEAST_FRAMES = 16
_SHOWN = 3
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures that are alike. read: the picture (height, width, 3), BGR, of a row. labels: class indices, or None.

    identity: tells this source's pictures from others'.
    """

    name: str
    count: int
    read: Callable[[int], NDArray[np.uint8]]
    labels: tuple[int, ...] | None
    identity: tuple[str, ...]


def open_sources(paths: Sequence[Path], classes: Classes | None, side: int) -> tuple[Source, ...]:
    """Folders of pictures and videos. classes: those the folders' names mean; None where labels are not wanted.

    side: the native resolution, for which a video's frames are kept large enough. Raises InvalidInputError on what
    cannot be used, naming the files.
    """
    return tuple(
        _folder(path, classes) if files.is_folder(path, "images") else _video(path, classes, side) for path in paths
    )


def _folder(folder: Path, classes: Classes | None) -> Source:
    pictures = images.listing(folder, labelled=classes is not None)
    unreadable = [picture.path for picture in pictures if not _readable(picture.path)]
    if unreadable:
        named = ", ".join(str(path.relative_to(folder)) for path in unreadable[:_SHOWN])
        more = f" and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
        raise InvalidInputError(f"images {folder}: cannot be read: {named}{more}")
    labels = None
    if classes is not None:
        folders = [picture.folder for picture in pictures if picture.folder is not None]
        index_of = images.class_indices(folders, classes)
        if len(index_of) == 1:
            raise InvalidInputError(
                f"images {folder}: holds the one class {folders[0]!r}; labels tell nothing there, give --unlabelled"
            )
        labels = tuple(index_of[name] for name in folders)
    paths = [picture.path for picture in pictures]
    return Source(
        str(folder),
        len(paths),
        lambda row: images.decode(paths[row]),
        labels,
        tuple(path.relative_to(folder).as_posix() for path in paths),
    )


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and cv2.haveImageReader(str(path))
    except cv2.error:  # an empty file
        return False


def _video(path: Path, classes: Classes | None, side: int) -> Source:
    if not files.is_file(path, "images"):
        raise InvalidInputError(f"images {path}: no such folder or video")
    if path.suffix.lower() in images.SUFFIXES:
        raise InvalidInputError(f"images {path}: is one picture; give the folder that it lies in")
    if classes is not None:
        raise InvalidInputError(f"images {path}: a video has no labels; give --unlabelled")
    frames = _frames(path, side)
    if len(frames) < _LEAST_FRAMES:
        raise InvalidInputError(
            f"images {path}: is a video of {len(frames)} frames; at least {_LEAST_FRAMES} are needed"
            if frames
            else f"images {path}: is not a video that OpenCV can read"
        )

    def read(row: int) -> NDArray[np.uint8]:
        return images.decoded(frames[row], path)

    return Source(str(path), len(frames), read, None, (path.name, str(path.stat().st_size)))


def _frames(path: Path, side: int) -> list[NDArray[np.uint8]]:
    """Frames evenly spread over a video, as JPEG: any of them can then be had at once, and they stay small."""
    claimed = _capture(path).get(cv2.CAP_PROP_FRAME_COUNT)
    count = int(claimed) if claimed > 0 else _counted(path)
    wanted = set(images.spread(range(count), MOST_FRAMES, seed=0))
    capture = _capture(path)
    frames = []
    for number in range(count):
        if not capture.grab():
            break
        if number in wanted:
            arrived, picture = capture.retrieve()
            if arrived:
                shrunk = _shrunk(picture.astype(np.uint8, copy=False), 2 * side)
                frames.append(cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])
    return [frame.astype(np.uint8, copy=False) for frame in frames]


def _capture(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _counted(path: Path) -> int:
    capture, count = _capture(path), 0
    while capture.grab():
        count += 1
    return count


def _shrunk(picture: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = shorter / min(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
