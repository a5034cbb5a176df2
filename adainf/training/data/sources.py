"""Training sources: folders of pictures and video files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.backbones import Classes
from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.media import MOST_PIXELS, captures, images
from adainf.media.pictures import check_header
from adainf.media.undecodable import PassedOver, UndecodableError, none_left
from adainf.media.videos import VideoFile

__all__ = ["MOST_FRAMES", "TrainingSource", "open_sources"]

MOST_FRAMES = 1000
"""The most frames taken from a video, evenly spaced: more frames of the same scene teach little."""

_LEAST_FRAMES = 16
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """A folder or a video.

    read: returns a row's picture (height, width, 3), BGR. labels: class indices, or None. identity: distinguishes its
    pictures from another source's. passed_over: pictures and frames that cannot be decoded.
    """

    name: str
    count: int
    read: Callable[[int], NDArray[np.uint8]]
    labels: tuple[int, ...] | None
    identity: tuple[str, ...]
    passed_over: PassedOver = field(default_factory=PassedOver)

    def read_from(self, row: int) -> tuple[int, NDArray[np.uint8]]:
        """Return the first decodable row from `row` on, wrapping around, and its picture.

        Raises InvalidInputError if no picture can be decoded.
        """
        failed: list[UndecodableError] = []
        for ahead in range(self.count):
            try:
                picture = self.read((row + ahead) % self.count)
            except UndecodableError as error:
                failed.append(error)
            else:
                self.passed_over.note(*failed)
                return (row + ahead) % self.count, picture
        raise none_left(self.name, failed)


def open_sources(paths: Sequence[Path], classes: Classes | None, side: int) -> tuple[TrainingSource, ...]:
    """Open folders of pictures and videos.

    classes: the classes of the folder names; None for no labels. side: the native resolution; video frames are kept
    large enough for it. Raises InvalidInputError on unusable sources, naming the files.
    """
    return tuple(
        _folder(path, classes) if files.is_folder(path, "images") else _video(path, classes, side) for path in paths
    )


def _folder(folder: Path, classes: Classes | None) -> TrainingSource:
    listed = images.listing(folder, labelled=classes is not None)
    failed = {picture: error for picture in listed if (error := _unreadable(picture.path))}
    pictures = [picture for picture in listed if picture not in failed]
    _require_one(folder, [picture.path for picture in pictures], list(failed.values()))
    passed_over = PassedOver()
    passed_over.note(*failed.values())
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
    return TrainingSource(
        str(folder),
        len(paths),
        lambda row: images.decode(paths[row]),
        labels,
        tuple(path.relative_to(folder).as_posix() for path in paths),
        passed_over,
    )


def _require_one(folder: Path, paths: Sequence[Path], failed: list[UndecodableError]) -> None:
    """Raise InvalidInputError, listing `failed` too, unless at least one of `paths` can be decoded."""
    for path in paths:
        try:
            images.decode(path)
        except UndecodableError as error:
            failed.append(error)
        else:
            return
    raise none_left(folder, failed)


def _unreadable(path: Path) -> UndecodableError | None:
    """Return the error in the file's image header, if any; the pixels are checked only when they are decoded."""
    try:
        check_header(path)
    except UndecodableError as error:
        return error
    return None


def _video(path: Path, classes: Classes | None, side: int) -> TrainingSource:
    if not files.is_file(path, "images"):
        raise InvalidInputError(f"images {path}: no such folder or video")
    if path.suffix.lower() in images.SUFFIXES:
        raise InvalidInputError(f"images {path}: is one picture; give the folder that it lies in")
    if classes is not None:
        raise InvalidInputError(f"images {path}: a video has no labels; give --unlabelled")
    frames, failed = _frames(path, side)
    if len(frames) < _LEAST_FRAMES:
        raise InvalidInputError(
            f"images {path}: is a video of {len(frames)} frames; at least {_LEAST_FRAMES} are needed"
            if frames
            else f"images {path}: is not a video that OpenCV can read"
        )

    passed_over = PassedOver()
    passed_over.note(*failed)

    def read(row: int) -> NDArray[np.uint8]:
        return images.decoded(frames[row].tobytes(), path)

    return TrainingSource(str(path), len(frames), read, None, (path.name, str(path.stat().st_size)), passed_over)


def _frames(path: Path, side: int) -> tuple[list[NDArray[np.uint8]], list[UndecodableError]]:
    """Return evenly spaced frames as JPEG, and the decoding errors.

    JPEG gives random access in little memory.
    """
    video = _opened(path)
    count = video.expected or _counted(path)
    wanted = set(images.spread(range(count), MOST_FRAMES, seed=0))
    frames = []
    while video.opened and video.grab():
        if video.index - 1 in wanted and (picture := video.try_retrieve()) is not None:
            shrunk = _shrunk(picture, 2 * side)
            frames.append(cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])
    video.close()
    failed = [UndecodableError(f"{path}, {frame.what}", frame.why) for frame in video.undecodable]
    return [frame.astype(np.uint8, copy=False) for frame in frames], failed


def _opened(path: Path) -> VideoFile:
    """Open the video; raises InvalidInputError if its frames are too large."""
    video = VideoFile(lambda: captures.opened_file(path), path)
    if video.opened and video.is_giant:
        width, height = video.size
        video.close()
        most = f"at most {MOST_PIXELS / 1e6:.4g} megapixels are read"
        raise InvalidInputError(f"images {path}: its frames have {width} × {height} pixels; {most}")
    return video


def _counted(path: Path) -> int:
    video = _opened(path)
    while video.opened and video.grab():
        pass
    video.close()
    return video.index


def _shrunk(picture: NDArray[np.uint8], shorter: int) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    factor = shorter / min(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
