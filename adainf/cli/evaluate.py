"""adainf evaluate: measure on pictures the accuracy of the branches chosen under budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adainf.cli.opening import check_examples_given, open_profile_of, open_run, open_subject, sources_of_profile
from adainf.cli.options import (
    IMAGES_HELP,
    PATH,
    family_weights_option,
    labels_option,
    numbers,
    run_option,
    sample_options,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
    video_options,
    warn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from adainf.profile import Profile, Timings
    from adainf.sensors.motion import Region

__all__ = ["command", "times_here"]

_MOST_EVALUATED = 200
"""Pictures of each class, of taught classes, without --limit."""


@click.command("evaluate")
@run_option
@click.option("--profile", help="A profile's path, or the name of a shipped one.  [default: the run's]")
@family_weights_option
@labels_option
@statistics_options
@threads_option
@click.option("--images", type=PATH, help=IMAGES_HELP)
@click.option("--classes", type=PATH, help="Taught classes, a file of `adainf teach`, in place of a profile.")
@video_options
@sample_options
@click.option(
    "--ceilings",
    callback=numbers(float),
    default="1,0.8,0.67,0.5,0.4,0.33,0.25,0.2",
    show_default=True,
    help="Fractions of the full branch's MACs or, --by time, of its time.",
)
@click.option(
    "--by",
    type=click.Choice(("macs", "time")),
    default="macs",
    show_default=True,
    help="time: as `adainf measure` has timed the branches on this device.",
)
@click.option(
    "--resolutions", callback=numbers(int), help="The profile's branches at these inputs alone.  [default: all]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--out", type=PATH, help="A folder for curve.csv and curve.png: every method at every budget.")
@click.option("--budgets", type=click.IntRange(min=1), default=128, show_default=True, help="With --out: so many.")
@click.option("--branches", is_flag=True, help="With --out: draw every branch's accuracy against its MACs too.")
@click.option(
    "--published",
    type=click.Choice(("cifar-100", "imagenet")),
    help="With --out: draw what others published on these pictures, by networks of theirs.",
)
@click.option("--teach", type=PATH, help="The --out of other pictures, to teach a content-aware scheduler by.")
def command(
    run: Path | None,
    profile: str | None,
    images: Path | None,
    classes: Path | None,
    video: Path | None,
    spans: Path | None,
    region: Region | None,
    ceilings: tuple[float, ...],
    resolutions: tuple[int, ...] | None,
    by: str,
    as_json: bool,
    out: Path | None,
    budgets: int,
    branches: bool,
    published: str | None,
    teach: Path | None,
    **options: Any,
) -> None:
    """Show which branch the lookup table takes at each ceiling, and how often it is right on pictures.

    With --out every branch of the profile answers every picture, and ways of choosing among them are compared. Killed,
    it goes on where it was when it is started again with the same settings.

    With --classes each taught branch answers the pictures of a folder or, with --spans, of a video.
    """
    if classes is not None:
        beside = profile is not None or out is not None
        _evaluate_classes(classes, images, video, spans, region, run, beside=beside, as_json=as_json, options=options)
        return
    options["images"] = _given(images, region)
    of_run = None if run is None else open_run(run)
    read = open_profile_of(of_run, profile)
    if resolutions is not None:
        read = read.at(resolutions)
    times = times_here(read) if by == "time" else None
    if times is not None and out is not None:
        raise click.UsageError("--by time does not go with --out")
    beside_out = {"--branches": branches, "--published": published, "--teach": teach}
    if out is None and any(beside_out.values()):
        raise click.UsageError(f"{next(name for name, given in beside_out.items() if given)} goes with --out")
    use_all_of_the_processor()
    from adainf.cli import tables
    from adainf.evaluation import curve

    if out is not None:
        from adainf.research import study

        study.check(out)
    subject = open_subject(sources_of_profile(read, of_run, options), options)
    if subject.passed_over.count:
        warn(f"evaluating {len(subject.paths)} images{subject.passed_over}")
    if out is not None:
        settings = {key: options[key] for key in ("part", "limit", "seed")}
        result = study.study(
            subject, read, budgets, out, settings, branches=branches, taught=teach, run=of_run, published=published
        )
        tables.print_shares(result, out)
        return
    points = curve.evaluate(subject, read, ceilings, times)
    if as_json:
        click.echo(tables.points_as_json(points))
    else:
        tables.print_points(points, labelled=subject.labels is not None, by=by)


def _given(images: Path | None, region: Region | None) -> Path:
    if images is None:
        raise click.UsageError("Missing option '--images'")
    if region is not None:
        raise click.UsageError("--region goes with --classes")
    return images


def _evaluate_classes(
    classes: Path,
    images: Path | None,
    video: Path | None,
    spans: Path | None,
    region: Region | None,
    run: Path | None,
    *,
    beside: bool,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    if beside:
        raise click.UsageError("--classes does not go with --profile or --out")
    check_examples_given(images, video, spans)
    from adainf.classes.taught import Taught

    taught = Taught.read(classes)
    of_run = None if run is None else open_run(run)
    use_all_of_the_processor()
    from adainf.base import documents, output
    from adainf.cli import tables
    from adainf.evaluation.subject import open_networks
    from adainf.teaching import teach
    from adainf.teaching.examples import open_examples
    from adainf.teaching.report import levels_document

    examples = open_examples(images, video, spans, options["limit"] or _MOST_EVALUATED, region)
    subject = open_networks(sources_of_profile(taught.profile, of_run, options), threads=options["threads"])
    levels = levels_document(teach.evaluate(subject, taught, examples))
    if as_json:
        click.echo(documents.legible_json({"names": list(taught.names), "levels": levels}))
        return
    tables.print_levels(levels)
    names = list(taught.names)
    for level in levels:
        output.show(f"{level['branch']}: confusion matrix, a row a true class")
        tables.print_confusion(names, level["confusion"])


def times_here(profile: Profile) -> Timings:
    """Return the times of the engine that is fastest on this processor."""
    from adainf.base.errors import InvalidInputError
    from adainf.engines.processor import processor_name, usable_processors

    here = processor_name(), usable_processors()
    timed = [times for times in profile.timings if (times.device, times.threads) == here]
    if not timed:
        raise InvalidInputError(f"profile: has no times of {here[0]} with {here[1]} threads; run `adainf measure`")
    faster = profile.faster_engine(*here)
    return next((times for times in timed if times.engine == faster), timed[0])
