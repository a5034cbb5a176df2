"""adainf calibrate · measure · evaluate. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adainf.command import run

if TYPE_CHECKING:
    from adainf.evaluation.subject import Subject
    from adainf.profile import Profile

__all__ = ["cli", "main"]

_PATH = click.Path(path_type=Path)


def main() -> None:
    """The program `adainf`."""
    run(cli, "adainf")


_Callback = Callable[[click.Context, click.Parameter, str | None], Any]


def _numbers(kind: type[int] | type[float], count: int | None = None) -> _Callback:
    """Reads numbers with commas between; exactly `count` of them where that is given."""

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


def _labels(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """Reads texts with commas between, or a file with one a line."""
    if text is None:
        return ()
    path = Path(text)
    if "/" in text or path.suffix == ".txt" or path.is_file():
        try:
            texts = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{path}: cannot be read ({error})") from None
    else:
        texts = text.split(",")
    labels = tuple(label.strip() for label in texts if label.strip())
    if not labels:
        raise click.BadParameter(f"{text!r} holds no label")
    return labels


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_weights_option = click.option(
    "--weights",
    help="A file, a name at the backbone's hub, or 'random'.  [default: an installed package's, or the hub's]",
)
_labels_option = click.option("--labels", callback=_labels, help="Class names: TEXT,TEXT or a file with one a line.")
_threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; 1 on a busy machine.  [default: every processor]"
)
_statistics_options = _together(
    click.option("--mean", callback=_numbers(float, 3), help="R,G,B, in place of those that belong to the weights."),
    click.option("--std", callback=_numbers(float, 3), help="R,G,B, in place of those that belong to the weights."),
)
_image_options = _together(
    click.option("--images", type=_PATH, required=True, help="A folder of pictures, one folder a class."),
    click.option("--unlabelled", is_flag=True, help="Take every picture below the folder, without labels."),
    click.option("--part", default="1/1", show_default=True, help="K/N: every N-th row of the sorted listing from K."),
    click.option("--limit", type=click.IntRange(min=1), help="At most so many pictures, evenly spread."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
)


@click.group(invoke_without_command=True)
@click.version_option(package_name="adainf")
@click.pass_context
def cli(context: click.Context) -> None:
    """Pretrained vision models whose compute follows a budget."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.option("--backbone", required=True, help="FAMILY/NAME, such as timm/tf_efficientnet_lite0.")
@_weights_option
@_labels_option
@_statistics_options
@_threads_option
@click.option("--size", type=click.IntRange(min=1), help="Native resolution, pixels a side.")
@_image_options
@click.option("--resolutions", callback=_numbers(int), help="Input sides.  [default: native to half of it]")
@click.option("--branches", type=click.IntRange(min=1), default=128, show_default=True, help="At most so many.")
@click.option("--out", type=_PATH, required=True, help="The profile to write (.json).")
def calibrate(
    backbone: str,
    size: int | None,
    resolutions: tuple[int, ...] | None,
    branches: int,
    out: Path,
    **options: Any,
) -> None:
    """Measure how accurate the branches of a backbone are.

    Killed, it goes on where it was when it is started again with the same settings.
    """
    _compute()
    from adainf.evaluation.partial import check_writable

    check_writable(out)
    from adainf.evaluation import calibrate as calibration

    subject = _subject(backbone, size, options)
    profile = calibration.calibrate(
        subject,
        resolutions or (),
        count=branches,
        part=options["part"],
        limit=options["limit"],
        seed=options["seed"],
        out=out,
    )
    click.echo(f"{out}: {len(profile.branches)} branches of {backbone}, {profile.calibration.images} images")


@cli.command()
@click.argument("profile", metavar="PROFILE.json")
@_weights_option
@_labels_option
@_threads_option
@click.option("--engine", type=click.Choice(["torch", "onnx"]), help="[default: the device's]")
@click.option("--seconds", type=click.FloatRange(1, 100), default=100, show_default=True, help="Stop after these.")
def measure(
    profile: str,
    weights: str | None,
    labels: tuple[str, ...],
    threads: int | None,
    engine: str | None,
    seconds: float,
) -> None:
    """Time the branches of a profile on this device and write the times into it.

    Without weights random ones are timed, which take as long.
    """
    _compute()
    deadline = time.monotonic() + seconds
    from adainf.evaluation.partial import check_writable

    path, read = _read(profile)
    check_writable(path)
    from adainf import engines
    from adainf.evaluation import subject, tables, timing

    backbone = subject.load_for_timing(read, weights, labels)
    runs_on = engines.load(engine, backbone, threads=threads, warn=_warn)
    with_times, times = timing.add_timings(read, runs_on, deadline - time.monotonic())
    with_times.write(path)
    tables.print_times(with_times, times)


@cli.command()
@click.option("--profile", required=True, help="A profile's path, or the name of a shipped one.")
@_weights_option
@_labels_option
@_statistics_options
@_threads_option
@_image_options
@click.option(
    "--ceilings",
    callback=_numbers(float),
    default="1,0.8,0.67,0.5,0.4,0.33,0.25,0.2",
    show_default=True,
    help="Fractions of the full branch's MACs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(profile: str, ceilings: tuple[float, ...], as_json: bool, **options: Any) -> None:
    """Show which branch the lookup table takes at each ceiling, and how often it is right on pictures."""
    _compute()
    _, read = _read(profile)
    from adainf.evaluation import curve, tables

    subject = _subject(read.backbone, read.native_resolution, options)
    points = curve.evaluate(subject, read, ceilings)
    if as_json:
        click.echo(tables.points_as_json(points))
    else:
        tables.print_points(points, labelled=subject.labels is not None)


def _read(name: str) -> tuple[Path, Profile]:
    from adainf import shipped
    from adainf.profile import Profile

    path = shipped.find("profiles", name, ".json")
    return path, Profile.read(path)


def _subject(backbone: str, size: int | None, options: dict[str, Any]) -> Subject:
    from adainf.backbones import Options
    from adainf.evaluation.images import Part
    from adainf.evaluation.subject import open_subject

    return open_subject(
        backbone,
        Options(options["weights"], options["labels"], size, options["mean"], options["std"]),
        options["images"],
        labelled=not options["unlabelled"],
        part=Part.parse(options["part"]),
        limit=options["limit"],
        seed=options["seed"],
        threads=options["threads"],
    )


def _warn(message: str) -> None:
    click.echo(f"adainf: {message}", err=True)


def _compute() -> None:
    # OpenMP's threads spin while they wait, which on a shared box takes the processors from the very threads they wait
    # for: two threads beside three busy processes gave 5 images a second, passive ones 31. Read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from adainf.allocator import restart_with_tuned_allocator

    restart_with_tuned_allocator()
