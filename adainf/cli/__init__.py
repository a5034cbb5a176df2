"""adainf train · calibrate · measure · evaluate · export. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from adainf.base import output
from adainf.base.command import Group
from adainf.base.command import run as run_command
from adainf.cli.evaluating import evaluate
from adainf.cli.exporting import export
from adainf.cli.fetching import fetch
from adainf.cli.opening import open_profile, open_run, open_subject
from adainf.cli.options import (
    PATH,
    image_options,
    labels_option,
    numbers,
    run_option,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
    warn,
    weights_option,
)
from adainf.cli.training import pretrain, train

__all__ = ["cli", "main"]


def main() -> None:
    """The program `adainf`."""
    # Read as OpenCV is imported: what it says of a broken picture would stand beside our one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    run_command(cli, "adainf")


@click.group(cls=Group)
@click.version_option(package_name="adainf")
def cli() -> None:
    """Pretrained vision models whose compute follows a budget."""


cli.add_command(train)
cli.add_command(pretrain)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(fetch)


@cli.command()
@click.option("--backbone", help="FAMILY/NAME, such as timm/tf_efficientnet_lite0.  [default: the run's]")
@run_option
@click.option("--profile", "known", help="With --run: of the base weights on these pictures, to save measuring them.")
@weights_option
@labels_option
@statistics_options
@threads_option
@click.option("--size", type=click.IntRange(min=1), help="Native resolution, pixels a side.")
@image_options
@click.option("--resolutions", callback=numbers(int), help="Input sides.  [default: native to half of it]")
@click.option("--zoom", type=click.FloatRange(0, 1), help="0: every input shows as much.  [default: tried]")
@click.option("--strength", type=click.FloatRange(0, 1, min_open=True), help="Of the run's adapter.  [default: tried]")
@click.option("--branches", type=click.IntRange(min=1), default=128, show_default=True, help="At most so many.")
@click.option("--out", type=PATH, help="The profile to write (.json).  [default: the run's own]")
def calibrate(
    backbone: str | None,
    run: str | None,
    known: str | None,
    size: int | None,
    resolutions: tuple[int, ...] | None,
    zoom: float | None,
    strength: float | None,
    branches: int,
    out: Path | None,
    **options: Any,
) -> None:
    """Measure how accurate the branches of a backbone are.

    With a run each branch is measured with the base weights and with the run's, and keeps those it is better with.
    Killed, it goes on where it was when it is started again with the same settings. Under torchrun all processes share
    the pictures.
    """
    of_run = None if run is None else open_run(run)
    if of_run is None and known is not None:
        raise click.UsageError("--profile goes with --run")
    backbone = backbone or (of_run.manifest.backbone if of_run is not None else None)
    out = out or (of_run.profile_path if of_run is not None else None)
    if backbone is None or out is None:
        raise click.UsageError(f"Missing option {'--backbone' if backbone is None else '--out'}, or --run")
    use_all_of_the_processor()
    from adainf.evaluation.partial import check_writable

    check_writable(out)
    from adainf.evaluation import calibrate as calibration
    from adainf.training import ranks

    size = size or (of_run.manifest.native_resolution if of_run is not None else None)
    with ranks.joined() as all_of_us:
        subject = open_subject(backbone, size, options, of_run, ranks=all_of_us)
        profile = calibration.calibrate(
            subject,
            resolutions or (),
            zoom=zoom,
            strength=strength,
            count=branches,
            part=options["part"],
            limit=options["limit"],
            seed=options["seed"],
            out=out,
            run=of_run,
            known=None if known is None else open_profile(known)[1],
        )
    if all_of_us.is_first:
        count = f"{profile.calibration.images} images{subject.passed_over}"
        output.show(f"{out}: {len(profile.branches)} branches of {backbone}, {count}")


@cli.command()
@click.argument("profile", metavar="PROFILE.json")
@weights_option
@labels_option
@threads_option
@click.option("--engine", type=click.Choice(["torch", "onnx"]), help="[default: the device's]")
@click.option("--seconds", type=click.FloatRange(1, 100), default=100, show_default=True, help="Measure for so long.")
def measure(
    profile: str,
    weights: str | None,
    labels: tuple[str, ...],
    threads: int | None,
    engine: str | None,
    seconds: float,
) -> None:
    """Time the branches of a profile on this device and write the times into it.

    Where the engine runs several pictures together, they are timed by their number too. What it takes to make a branch
    ready counts neither as its time nor towards --seconds.

    Without weights random ones are timed, which take as long. Without --engine each engine that runs on the processor
    is timed, where there is no GPU; the daemon takes the faster one.
    """
    use_all_of_the_processor()
    from adainf.evaluation.partial import check_writable

    path, read = open_profile(profile)
    check_writable(path)
    from adainf import engines
    from adainf.cli import tables
    from adainf.evaluation import subject, timing

    backbone = subject.load_for_timing(read, weights, labels)
    first = engines.load(engine, backbone, threads=threads, warn=warn)
    both = engine is None and first.name == "onnx"
    timed = [first, engines.load("torch", backbone, device="cpu", threads=threads)] if both else [first]
    for runs_on in timed:
        read, times = timing.add_timings(read, runs_on, seconds / len(timed))
        read.write(path)
        tables.print_times(read, times)
    faster = read.faster_engine(first.device, first.threads)
    if faster is not None:
        output.show(f"{faster} is the faster engine here; adainfd takes it")
