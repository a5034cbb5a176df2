"""Options shared by several commands, and the process setup of compute-heavy commands."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from adainf.base import files, output

__all__ = [
    "DEFAULT_MINUTES",
    "IMAGES_HELP",
    "PATH",
    "checkpoints_option",
    "device_option",
    "family_weights_option",
    "image_options",
    "labels_option",
    "numbers",
    "run_option",
    "sample_options",
    "statistics_options",
    "threads_option",
    "together",
    "use_all_of_the_processor",
    "video_options",
    "warn",
    "weights_option",
]

PATH = click.Path(path_type=Path)

DEFAULT_MINUTES = 15.0
"""Duration of a training without --minutes and --steps."""

IMAGES_HELP = "A folder of pictures, one folder a class; or, --unlabelled, a video."

_Callback = Callable[[click.Context, click.Parameter, str | None], Any]


def numbers(kind: type[int] | type[float], count: int | None = None) -> _Callback:
    """Return a click callback that parses comma-separated numbers, exactly `count` of them if given."""

    def read(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
        if text is None:
            return None
        try:
            numbers = tuple(kind(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)) or count not in (None, len(numbers)):
            kinds = "whole numbers" if kind is int else "numbers"
            raise click.BadParameter(f"{text!r} is not {count or 'some'} {kinds} with commas between")
        return numbers

    return read


def read_labels(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Parse comma-separated labels, or read them from a file with one label per line; a click callback."""
    if text is None:
        return ()
    path = Path(text)
    if "/" in text or path.suffix == ".txt" or files.is_there(path):
        texts = files.read_text(path, "labels").splitlines()
    else:
        texts = text.split(",")
    labels = tuple(label.strip() for label in texts if label.strip())
    if not labels:
        raise click.BadParameter(f"{text!r} holds no label")
    return labels


def together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds all `options` to a command, in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


weights_option = click.option(
    "--weights",
    help="A file, a name at the backbone's hub, or 'random'.  [default: an installed package's, or the hub's]",
)
family_weights_option = click.option(
    "--weights",
    multiple=True,
    metavar="[NETWORK=]WEIGHTS",
    help="A file, a name at the backbone's hub, or 'random'; with NETWORK= of another network than the first.  "
    "[default: an installed package's, or the hub's]",
)
run_option = click.option("--run", type=PATH, metavar="FOLDER", help="A run: a folder made by `adainf train`.")
labels_option = click.option("--labels", callback=read_labels, help="Class names: TEXT,TEXT or a file with one a line.")
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; 1 on a busy machine.  [default: every processor]"
)
checkpoints_option = click.option(
    "--checkpoint-every", type=click.FloatRange(min=0), default=60, show_default=True, help="Seconds between two."
)
device_option = click.option("--device", help="cpu, cuda, cuda:1…  [default: a GPU where there is one]")
statistics_options = together(
    click.option("--mean", callback=numbers(float, 3), help="R,G,B, in place of those that belong to the weights."),
    click.option("--std", callback=numbers(float, 3), help="R,G,B, in place of those that belong to the weights."),
)
sample_options = together(
    click.option("--unlabelled", is_flag=True, help="Take every picture below the folder, without labels."),
    click.option("--part", default="1/1", show_default=True, help="K/N: every N-th row of the sorted listing from K."),
    click.option("--limit", type=click.IntRange(min=1), help="At most so many pictures, evenly spread."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
)
image_options = together(
    click.option("--images", type=PATH, required=True, help=IMAGES_HELP),
    sample_options,
)
video_options = together(
    click.option("--video", type=PATH, help="Take frames of this video; goes with --spans."),
    click.option("--spans", type=PATH, help="A CSV file of START,END,LABEL, in seconds of the video."),
    click.option(
        "--region",
        callback=numbers(float, 4),
        help="LEFT,TOP,RIGHT,BOTTOM, each of 0 to 1: look at this part of each picture.",
    ),
)


def warn(message: str) -> None:
    """Print a warning on stderr; the command continues."""
    output.say(f"adainf: {message}")


def use_all_of_the_processor() -> None:
    """Set up allocator and threads for heavy work; restarts the process if the allocator requires it."""
    # OpenMP threads spin while they wait, which on a shared box starves the very threads they wait for: two threads
    # beside three busy processes reached 5 images per second, with passive waiting 31. Read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from adainf.process.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
