"""Makes clips with a known label for every frame, from photographs.

    python benchmarks/labelled_clips.py --images FOLDER --out DIR

A camera rests on a photograph, pans, zooms and cuts to the next one, with noise, flicker and steps of exposure. Beside
each clip lies a JSON file of the same stem with the label, the phase and the exposure of every frame.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from filming import LEAST_FRAMES, Camera, Frame, Shot, fitted, script

from adainf import __version__
from adainf.base.errors import InvalidInputError
from adainf.evaluation.progress import progress
from adainf.media.images import Part, Picture, decode, listing, spread
from adainf.process.command import run

SCHEMA = "adainf.labelled-clip/1"
CODEC = "mp4v"
_LEAST_SIDE, _MOST_SIDE = 32, 4096
_MOST_FRAMES = 100_000


def _size(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, int]:
    matched = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
    sides = tuple(map(int, matched.groups())) if matched else ()
    if len(sides) != 2 or any(side % 2 or not _LEAST_SIDE <= side <= _MOST_SIDE for side in sides):
        raise click.BadParameter(
            f"{text!r} is not WIDTHxHEIGHT with both even and from {_LEAST_SIDE} to {_MOST_SIDE}, as in 640x360"
        )
    return sides


@click.command(help=__doc__.partition("\n")[0])
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Photographs, in class folders or flat.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder that gets clip-1.mp4, clip-1.json…")
@click.option("--part", default="1/1", show_default=True, help="K/N: every N-th row of the sorted listing from K.")
@click.option("--clips", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option(
    "--photographs", type=click.IntRange(1, 10_000), default=15, show_default=True, help="At most, in a clip."
)
@click.option("--seconds-each", type=float, default=4, show_default=True, help="A photograph's.")
@click.option("--fps", type=click.IntRange(1, 120), default=25, show_default=True)
@click.option("--size", default="640x360", show_default=True, callback=_size)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same frames.")
def labelled_clips(
    images: Path,
    out: Path,
    part: str,
    clips: int,
    photographs: int,
    seconds_each: float,
    fps: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    """Choose the photographs, then make one clip after the other."""
    if not LEAST_FRAMES <= seconds_each * fps <= _MOST_FRAMES:
        raise InvalidInputError(
            f"seconds-each {seconds_each:g} at {fps} fps: must give each {LEAST_FRAMES} to {_MOST_FRAMES} frames"
        )
    frames_each = round(seconds_each * fps)
    chosen = choose(images, Part.parse(part), clips, photographs, seed)
    settings = {"seed": seed, "part": part, "clips": clips, "photographs": photographs, "seconds_each": seconds_each}
    with progress("frames", frames_each * sum(map(len, chosen))) as advance, _beside(out) as unfinished:
        for number, pictures in enumerate(chosen, 1):
            random = np.random.default_rng((seed, number))
            frames = script([_shot(picture, images) for picture in pictures], frames_each, fps, random)
            camera = Camera(size, fps, random)
            video = unfinished / f"clip-{number}.mp4"
            document = {
                "schema": SCHEMA,
                "video": video.name,
                "codec": CODEC,
                "width": size[0],
                "height": size[1],
                "fps": fps,
                "made": {"version": __version__, "clip": number, **settings, **asdict(camera.sensor)},
            }
            film(video, camera, images, frames, advance)
            _describe(video.with_suffix(".json"), document, frames)
            _put(unfinished, out, video.name)
            print(f"{out / video.name}: {len(frames)} frames of {len(pictures)} photographs", flush=True)


def choose(images: Path, part: Part, clips: int, photographs: int, seed: int) -> list[list[Picture]]:
    """Return each clip's photographs in order, spread over the listing; no photograph is used twice.

    Raises InvalidInputError if there are fewer photographs than clips, or if one cannot be read.
    """
    rows = part.rows(listing(images, labelled=False))
    if len(rows) < clips:
        raise InvalidInputError(f"images {images}: part {part} holds {len(rows)} photographs; {clips} clips need more")
    picked = spread(rows, min(clips * photographs, len(rows)), seed)
    for picture in picked:
        decode(picture.path)
    order = np.random.default_rng(seed).permutation(len(picked))
    return [[picked[row] for row in order[clip::clips]] for clip in range(clips)]


def _shot(picture: Picture, images: Path) -> Shot:
    return Shot(picture.path.relative_to(images).as_posix(), picture.folder or picture.path.stem)


def film(video: Path, camera: Camera, images: Path, frames: Sequence[Frame], advance: Callable[[int], None]) -> None:
    """Take and encode `frames`; raises InvalidInputError if the file does not hold all of them afterwards."""
    writer = cv2.VideoWriter(str(video), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), camera.fps, camera.size)
    try:
        for photograph, shown in groupby(frames, key=lambda frame: frame.photograph):
            picture = fitted(decode(images / photograph), camera.size[1])
            for frame in shown:
                writer.write(camera.take(picture, frame))
                advance(1)
    finally:
        writer.release()
    # Count the frames, because OpenCV reports neither a missing codec nor a full disk.
    written = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    count = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
    written.release()
    if count != len(frames):
        raise InvalidInputError(
            f"out {video.parent.parent}: {count} of {len(frames)} frames written; is the disk full?"
        )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield a temporary folder in `out` for unfinished files; raises InvalidInputError if it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as name:
            yield Path(name)
    except OSError as error:
        raise InvalidInputError(f"out {out}: cannot be written ({error.strerror or error})") from None


def _describe(file: Path, document: dict[str, Any], frames: Sequence[Frame]) -> None:
    """Write a clip's JSON, one line per frame."""
    head = json.dumps(document, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(asdict(frame)) for frame in frames)
    file.write_text(f'{head},\n "frames": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def _put(unfinished: Path, out: Path, video: str) -> None:
    """Move a video and its JSON to `out`, in an order that never leaves a video beside another video's labels."""
    described = Path(video).with_suffix(".json").name
    (out / described).unlink(missing_ok=True)
    for name in (video, described):
        (unfinished / name).replace(out / name)


if __name__ == "__main__":
    run(labelled_clips, "labelled_clips")
