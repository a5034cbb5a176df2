"""adainf calibrate: measure the accuracy of each branch on pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adainf.base import output
from adainf.cli.opening import open_profile, open_run, open_subject, sources_of_backbones
from adainf.cli.options import (
    PATH,
    family_weights_option,
    image_options,
    labels_option,
    numbers,
    run_option,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
)

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command("calibrate")
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    help="FAMILY/NAME, such as timm/tf_efficientnet_lite0; several for a family, the reference first.  "
    "[default: the profile's or the run's]",
)
@run_option
@click.option("--profile", "known", help="With --run: of the base weights on these pictures, to save measuring them.")
@family_weights_option
@labels_option
@statistics_options
@threads_option
@click.option("--size", type=click.IntRange(min=1), help="Native resolution, pixels a side.")
@image_options
@click.option(
    "--resolutions", callback=numbers(int), help="Input sides.  [default: native to half of it, for each network]"
)
@click.option("--zoom", type=click.FloatRange(0, 1), help="0: every input shows as much.  [default: tried]")
@click.option("--strength", type=click.FloatRange(0, 1, min_open=True), help="Of the run's adapter.  [default: tried]")
@click.option(
    "--branches", type=click.IntRange(min=1), default=128, show_default=True, help="At most so many, of all networks."
)
@click.option("--out", type=PATH, help="The profile to write (.json).  [default: the run's own]")
def command(
    backbones: tuple[str, ...],
    run: Path | None,
    known: str | None,
    size: int | None,
    resolutions: tuple[int, ...] | None,
    zoom: float | None,
    strength: float | None,
    branches: int,
    out: Path | None,
    **options: Any,
) -> None:
    """Measure how accurate the branches of a network are, or of several that answer with the same classes: a family.

    With a run each branch is measured with the base weights and with the run's, and keeps those it is better with.
    Killed, it goes on where it was when it is started again with the same settings. Under torchrun all processes share
    the pictures.
    """
    of_run = None if run is None else open_run(run)
    if of_run is None and known is not None:
        raise click.UsageError("--profile goes with --run")
    known_profile = None if known is None else open_profile(known)[1]
    if not backbones and of_run is not None:
        of_profile = (
            ()
            if known_profile is None
            else tuple(network.backbone for network in known_profile.networks if not network.adapter)
        )
        backbones = of_profile or (of_run.manifest.backbone,)
    out = out or (of_run.profile_path if of_run is not None else None)
    if not backbones or out is None:
        raise click.UsageError(f"Missing option {'--out' if backbones else '--backbone'}, or --run")
    use_all_of_the_processor()
    from adainf.evaluation.partial import check_writable

    check_writable(out)
    from adainf.evaluation import calibrate as calibration
    from adainf.training import ranks

    with ranks.joined() as all_ranks:
        sources = sources_of_backbones(backbones, size, of_run, options)
        subject = open_subject(sources, options, ranks=all_ranks)
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
            known=known_profile,
        )
    if all_ranks.is_first:
        count = f"{profile.calibration.images} images{subject.passed_over}"
        output.show(f"{out}: {len(profile.branches)} branches of {profile.title}, {count}")
