"""adainf train · calibrate · measure · evaluate. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adainf.cli.options import (
    PATH,
    image_options,
    labels_option,
    numbers,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
    warn,
    weights_option,
)
from adainf.cli.training import pretrain, train
from adainf.command import run

if TYPE_CHECKING:
    from adainf.evaluation.subject import Subject
    from adainf.profile import Profile

__all__ = ["cli", "main"]


def main() -> None:
    """The program `adainf`."""
    run(cli, "adainf")


@click.group(invoke_without_command=True)
@click.version_option(package_name="adainf")
@click.pass_context
def cli(context: click.Context) -> None:
    """Pretrained vision models whose compute follows a budget."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.add_command(train)
cli.add_command(pretrain)


@cli.command()
@click.option("--backbone", required=True, help="FAMILY/NAME, such as timm/tf_efficientnet_lite0.")
@weights_option
@labels_option
@statistics_options
@threads_option
@click.option("--size", type=click.IntRange(min=1), help="Native resolution, pixels a side.")
@image_options
@click.option("--resolutions", callback=numbers(int), help="Input sides.  [default: native to half of it]")
@click.option("--branches", type=click.IntRange(min=1), default=128, show_default=True, help="At most so many.")
@click.option("--out", type=PATH, required=True, help="The profile to write (.json).")
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
    use_all_of_the_processor()
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
@weights_option
@labels_option
@threads_option
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
    use_all_of_the_processor()
    deadline = time.monotonic() + seconds
    from adainf.evaluation.partial import check_writable

    path, read = _read(profile)
    check_writable(path)
    from adainf import engines
    from adainf.evaluation import subject, tables, timing

    backbone = subject.load_for_timing(read, weights, labels)
    runs_on = engines.load(engine, backbone, threads=threads, warn=warn)
    with_times, times = timing.add_timings(read, runs_on, deadline - time.monotonic())
    with_times.write(path)
    tables.print_times(with_times, times)


@cli.command()
@click.option("--profile", required=True, help="A profile's path, or the name of a shipped one.")
@weights_option
@labels_option
@statistics_options
@threads_option
@image_options
@click.option(
    "--ceilings",
    callback=numbers(float),
    default="1,0.8,0.67,0.5,0.4,0.33,0.25,0.2",
    show_default=True,
    help="Fractions of the full branch's MACs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(profile: str, ceilings: tuple[float, ...], as_json: bool, **options: Any) -> None:
    """Show which branch the lookup table takes at each ceiling, and how often it is right on pictures."""
    use_all_of_the_processor()
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
    from adainf.evaluation.subject import open_subject
    from adainf.images import Part

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
