"""Examples to teach or to evaluate with: pictures with their labels and times, from folders or from a video."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from adainf.base.errors import InvalidInputError
from adainf.classes.labels import UNKNOWN, UNSORTED
from adainf.classes.taught import MOST_LABELS, check_label
from adainf.media import MOST_PIXELS, captures, checking, images
from adainf.media.undecodable import PassedOver, UndecodableError
from adainf.media.videos import VideoFile
from adainf.preprocessing import region_of
from adainf.sensors.motion import Region
from adainf.teaching.spans import Span, read_spans

__all__ = ["Example", "Examples", "check_teachable", "of_folder", "of_video", "open_examples"]

_LEAST = 3
# Files written within a minute were copied or unpacked, and their times say nothing.
_TELLING_SECONDS = 60.0
# Pictures of one visit lie closer together than this.
_PAUSE_SECONDS = 60.0
_SHORTER_SIDE = 640


@dataclass(frozen=True, slots=True)
class Example:
    """A picture with its label.

    name: of its file, or its time in the video. time: in seconds, or its place in the listing. episode: numbers the
    stretches of time within which pictures of one label resemble each other. read: returns the picture (height, width,
    3), BGR.
    """

    name: str
    label: str
    time: float
    episode: int
    read: Callable[[], NDArray[np.uint8]] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples of several labels, each label's by rising time.

    timed: whether their times are seconds. passed_over: pictures and frames that cannot be decoded.
    """

    every: tuple[Example, ...]
    timed: bool
    passed_over: PassedOver

    def within(self, region: Region) -> "Examples":
        """Return the same examples, of a region of each picture alone."""

        def read(example: Example) -> NDArray[np.uint8]:
            return region_of(example.read(), region)

        return replace(self, every=tuple(replace(each, read=partial(read, each)) for each in self.every))

    @property
    def of_label(self) -> Mapping[str, list[Example]]:
        """The examples of each label."""
        found: defaultdict[str, list[Example]] = defaultdict(list)
        for example in self.every:
            found[example.label].append(example)
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted({example.label for example in self.every}))


def check_teachable(examples: Examples) -> None:
    """Raise InvalidInputError unless there are two labels or more, each with at least three pictures."""
    if not 2 <= len(examples.labels) <= MOST_LABELS:
        found = ", ".join(map(repr, examples.labels[:3]))
        raise InvalidInputError(f"classes: {len(examples.labels)} ({found}); must be 2 to {MOST_LABELS}")
    for label, of_label in examples.of_label.items():
        check_label(label)
        if len(of_label) < _LEAST:
            raise InvalidInputError(f"class {label!r}: has {len(of_label)} pictures; at least {_LEAST} are needed")


def open_examples(
    images: Path | None,
    video: Path | None,
    spans: Path | None,
    most: int,
    region: Region | None = None,
    *,
    to_teach: bool = False,
) -> Examples:
    """Return the pictures of a folder, or else the frames of a video; see `of_folder` and `of_video`.

    region: the part of each picture that is looked at; None is all of it. Raises InvalidInputError on a region without
    area, or beyond the picture.
    """
    if region is not None and not (0 <= region[0] < region[2] <= 1 and 0 <= region[1] < region[3] <= 1):
        shown = ",".join(f"{edge:g}" for edge in region)
        raise InvalidInputError(f"region {shown}: must be LEFT,TOP,RIGHT,BOTTOM, each of 0 to 1, with area between")
    if images is not None:
        examples = of_folder(images, most, to_teach=to_teach)
    elif video is not None and spans is not None:
        examples = of_video(video, spans, most)
    else:
        raise ValueError("needs images, or a video and spans")
    return examples if region is None else examples.within(region)


def of_folder(folder: Path, most: int, *, to_teach: bool = False) -> Examples:
    """Return the pictures of a folder with a folder a class. most: of each class, evenly spread.

    The folder `UNSORTED` is passed over; to_teach: so is `UNKNOWN`, which can only be evaluated. Raises
    InvalidInputError if there are none, or one lies outside a class folder.
    """
    listed = images.listing(folder, labelled=True)
    of_label: defaultdict[str, list[Path]] = defaultdict(list)
    for picture in listed:
        if picture.folder != UNSORTED and not (to_teach and picture.folder == UNKNOWN):
            of_label[picture.folder or ""].append(picture.path)
    chosen = [(label, path) for label, paths in of_label.items() for path in images.spread(paths, most, seed=0)]
    passed_over = PassedOver()
    for row, why in (unusable := checking.undecodable([path for _, path in chosen])).items():
        passed_over.note(UndecodableError(chosen[row][1], why))
    usable = [of for row, of in enumerate(chosen) if row not in unusable]
    times = [path.stat().st_mtime for _, path in usable]
    timed = bool(times) and max(times) - min(times) > _TELLING_SECONDS
    if not timed:
        times = [float(row) for row in range(len(usable))]
    rows: list[Example] = []
    for (label, path), time in sorted(zip(usable, times, strict=True), key=lambda of: (of[0][0], of[1])):
        before = rows[-1] if rows and rows[-1].label == label else None
        goes_on = timed and before is not None and time - before.time <= _PAUSE_SECONDS
        episode = 0 if before is None else before.episode + (not goes_on)
        name = path.relative_to(folder).as_posix()
        rows.append(Example(name, label, time, episode, partial(images.decode, path)))
    return Examples(tuple(rows), timed, passed_over)


def of_video(video: Path, spans: Path, most: int) -> Examples:
    """Return frames of a video, evenly spread over the spans of each label. most: of each label.

    spans: a CSV file, see `read_spans`. Raises InvalidInputError if a span leaves the video.
    """
    wanted = _wanted(read_spans(spans), most)
    frames, seconds, passed_over = _frames(video, [time for time, _, _ in wanted])
    latest = max((span for _, span, _ in wanted), key=lambda span: span.end)
    if latest.end > seconds + 0.5:
        raise InvalidInputError(f"spans {spans}: {latest} leaves the video, which has {seconds:.1f} s")
    rows = [
        Example(f"{time:.2f} s", span.label, time, episode, partial(_itself, frames[row]))
        for row, (time, span, episode) in enumerate(wanted)
        if row in frames
    ]
    return Examples(tuple(sorted(rows, key=lambda row: (row.label, row.time))), timed=True, passed_over=passed_over)


def _itself(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frame


def _wanted(spans: Sequence[Span], most: int) -> list[tuple[float, Span, int]]:
    """Return the times to take frames at, by rising time, each with its span and the span's number."""
    wanted = []
    for label in sorted({span.label for span in spans}):
        of_label = [(number, span) for number, span in enumerate(spans) if span.label == label]
        ends = np.cumsum([span.end - span.start for _, span in of_label])
        for second in (np.arange(most) + 0.5) * ends[-1] / most:
            which = int(np.searchsorted(ends, second, side="right"))
            number, span = of_label[which]
            wanted.append((float(span.end - (ends[which] - second)), span, number))
    return sorted(wanted, key=lambda row: row[0])


def _frames(path: Path, times: Sequence[float]) -> tuple[dict[int, NDArray[np.uint8]], float, PassedOver]:
    """Return the frames at rising times, by the time's row, each frame once; the video's seconds; and what failed."""
    video = VideoFile(lambda: captures.opened_file(path), path)
    if not video.opened:
        raise InvalidInputError(f"video {path}: cannot be read as a video")
    if video.is_giant:
        width, height = video.size
        raise InvalidInputError(
            f"video {path}: its frames have {width} × {height} pixels; at most {MOST_PIXELS / 1e6:.4g} megapixels"
        )
    rate = video.frames_per_second or 25.0
    frames: dict[int, NDArray[np.uint8]] = {}
    row, seconds = 0, 0.0
    while video.grab():
        now = video.position if video.position is not None else (video.index - 1) / rate
        seconds = now + 1 / rate
        due = row
        while due < len(times) and times[due] < seconds:
            due += 1
        if due > row and (picture := video.try_retrieve()) is not None:
            frames[due - 1] = _shrunk(picture)
        row = due
    video.close()
    passed_over = PassedOver()
    passed_over.note(*(UndecodableError(f"{path}, {frame.what}", frame.why) for frame in video.undecodable))
    return frames, seconds, passed_over


def _shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with a shorter side that is still large enough for every network."""
    height, width = picture.shape[:2]
    factor = _SHORTER_SIDE / min(height, width)
    if factor >= 1:
        return picture
    size = (round(width * factor), round(height * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
