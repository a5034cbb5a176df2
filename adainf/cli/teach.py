"""adainf teach: teach a profile's networks an owner's own classes from few pictures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from adainf.base import output
from adainf.cli.opening import check_examples_given, open_profile_of, open_run, sources_of_profile
from adainf.cli.options import (
    PATH,
    family_weights_option,
    labels_option,
    run_option,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
    video_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from adainf.sensors.motion import Region

__all__ = ["command"]


@click.command("teach")
@click.option("--images", type=PATH, help="A folder of pictures, one folder a class.")
@video_options
@run_option
@click.option("--profile", help="A profile's path, or the name of a shipped one.  [default: the run's]")
@family_weights_option
@labels_option
@statistics_options
@threads_option
@click.option(
    "--squeezed/--cropped",
    default=None,
    help="Look at the whole picture, squeezed into a square, or at its central square.  [default: tried]",
)
@click.option("--mirrored", is_flag=True, help="The classes look the same in a mirror.")
@click.option(
    "--limit",
    type=click.IntRange(min=3),
    default=60,
    show_default=True,
    help="Pictures of each class at most, evenly spread.",
)
@click.option("--out", type=PATH, required=True, help="The file of the taught classes to write (.classes).")
@click.option("--json", "as_json", type=PATH, help="A file for the report as JSON.")
@click.option("--html", type=PATH, help="A file for the report as one page, with pictures.")
def command(
    images: Path | None,
    video: Path | None,
    spans: Path | None,
    region: Region | None,
    run: Path | None,
    profile: str | None,
    squeezed: bool | None,
    mirrored: bool,
    limit: int,
    out: Path,
    as_json: Path | None,
    html: Path | None,
    **options: Any,
) -> None:
    """Teach the networks of a profile classes of your own, from a few dozen pictures, and say how good they are.

    What looks like none of the classes is answered as `unknown`. The accuracies are cross-validated: heads that have
    seen neither a picture nor its neighbours in time classify it. An existing --out is evaluated on the same pictures,
    for comparison, and kept as FILE.before.
    """
    start = time.monotonic()
    check_examples_given(images, video, spans)
    of_run = None if run is None else open_run(run)
    read = open_profile_of(of_run, profile)
    use_all_of_the_processor()
    from adainf.base import documents, files
    from adainf.base.errors import InvalidInputError
    from adainf.classes.taught import Taught, keep_before
    from adainf.cli import tables
    from adainf.evaluation.partial import check_writable
    from adainf.evaluation.subject import open_networks
    from adainf.profile import write_atomically
    from adainf.teaching import page, teach
    from adainf.teaching.examples import open_examples
    from adainf.teaching.report import before_document, report

    for path in filter(None, (out, as_json, html)):
        check_writable(path)
    before = Taught.read(out) if files.is_file(out, "classes") else None
    examples = open_examples(images, video, spans, limit, region, to_teach=True)
    subject = open_networks(sources_of_profile(read, of_run, options), threads=options["threads"])
    lesson = teach.teach(subject, read, examples, squeezed=squeezed, mirrored=mirrored)
    document = report(lesson)
    why_not = None
    if before is not None:
        try:
            earlier = teach.evaluate_before(subject, before, examples)
            document["before"] = before_document(earlier, document)
        except InvalidInputError as error:
            why_not = str(error)
        keep_before(out)
    lesson.taught.write(out)
    if as_json is not None:
        write_atomically(as_json, documents.legible_json(document) + "\n")
    if html is not None:
        write_atomically(html, page.page(lesson, document))
    tables.print_lesson(document)
    if before is not None:
        tables.print_before(document.get("before", []), why_not)
    output.show(
        f"{out}: {len(examples.labels)} classes of {len(examples.every)} pictures{examples.passed_over}, "
        f"in {time.monotonic() - start:.0f} s"
    )
