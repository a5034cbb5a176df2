"""adainf train: adapt a backbone to pictures, to make its cheap branches more accurate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adainf.base import output
from adainf.cli.options import (
    DEFAULT_MINUTES,
    PATH,
    checkpoints_option,
    device_option,
    labels_option,
    numbers,
    statistics_options,
    threads_option,
    use_all_of_the_processor,
    weights_option,
)

if TYPE_CHECKING:
    from adainf.training.start import TrainingRequest

__all__ = ["command"]

_QUICK_MINUTES = 1.0
# `paper`: the paper's value. `distil`: a rate at which distillation did not forget what the weights had learnt.
_LEARNING_RATES = {"distil": 1e-4, "paper": 1e-3}


class _OneOrMore(click.Command):
    """A command that takes several values after `--images`, as a shell expands a pattern: `--images A B`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        several = False
        for argument in args:
            if argument.startswith("-"):
                several = argument == "--images"
                spread.append(argument)
            else:
                if several and spread[-1] != "--images":
                    spread.append("--images")
                spread.append(argument)
        return super().parse_args(ctx, spread)


@click.command("train", cls=_OneOrMore)
@click.option("--backbone", required=True, help="FAMILY/NAME, such as timm/tf_efficientnet_lite0.")
@weights_option
@labels_option
@statistics_options
@threads_option
@device_option
@click.option("--size", type=click.IntRange(min=1), help="Native resolution, pixels a side.")
@click.option("--images", type=PATH, required=True, multiple=True, help="Folders of pictures, or video files.")
@click.option("--unlabelled", is_flag=True, help="The full model alone teaches; folders need not be classes.")
@click.option("--mix", callback=numbers(float), help="Each source's share.  [default: equal]")
@click.option(
    "--recipe",
    type=click.Choice(["distil", "paper"]),
    default="distil",
    show_default=True,
    help="paper: AdaInf's content-aware scheduler, trained together with the adapter.",
)
@click.option(
    "--bound",
    type=click.Choice(["hard", "soft"]),
    default="hard",
    show_default=True,
    help="Of the recipe paper: may its scheduler exceed a budget?",
)
@click.option(
    "--overrun-weight",
    type=click.FloatRange(min=0),
    default=1,
    show_default=True,
    help="Of the recipe paper: its λ, what MACs beyond a budget cost beside the cross-entropy.",
)
@click.option("--teacher", help="Of the recipe distil: FAMILY/NAME that teaches.  [default: the backbone itself]")
@click.option("--teacher-weights", help="As --weights, of the teacher.")
@click.option("--adapt", type=click.Choice(["lora", "full", "none"]), default="lora", show_default=True)
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Of low-rank updates.")
@click.option(
    "--alpha", type=click.FloatRange(0, min_open=True), help="They are scaled by alpha/rank.  [default: 2 × rank]"
)
@click.option(
    "--batch-norm",
    type=click.Choice(["frozen", "train"]),
    default="frozen",
    show_default=True,
    help="train: running statistics move too; for ResNets trained from scratch.",
)
@click.option("--resolutions", callback=numbers(int), help="Input sides.  [default: 4/7 and 5/7 of the native one]")
@click.option(
    "--ceiling",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.4,
    show_default=True,
    help="The most MACs of a drawn branch, a fraction of the full one's.",
)
@click.option(
    "--profile", help="Draw only branches that this profile's lookup table may take: a path or a shipped name."
)
@click.option(
    "--zoom",
    type=click.FloatRange(0, 1),
    help="How much less of a view smaller inputs show.  [default: as the profile has it, else 0]",
)
@click.option(
    "--least-area",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    show_default=True,
    help="A view is a square of at least this share of the picture's largest one.",
)
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help=f"[default: {DEFAULT_MINUTES:.0f}]")
@click.option("--steps", type=click.IntRange(min=1), help="In place of --minutes.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), help="[default: 1e-4; 1e-3 with the recipe paper]"
)
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Views a step.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--quick", is_flag=True, help="One minute: to see that it works.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run's folder.")
@checkpoints_option
@click.option("--out", type=PATH, required=True, help="The run's folder.")
def command(**options: Any) -> None:
    """Adapt a backbone to pictures, so that its cheap branches answer as the full model does.

    Under torchrun all processes train together.
    """
    use_all_of_the_processor()
    from adainf.training import ranks, start

    with ranks.joined() as all_ranks:
        run = start.adapt(_request(options), all_ranks)
    if all_ranks.is_first:
        training = run.manifest.training
        output.show(
            f"{run.folder}: {training.steps} steps in {training.seconds:.0f} s, loss {training.loss:.4f}, "
            f"agreement {training.agreement or 0:.1%}"
        )


def _request(options: dict[str, Any]) -> TrainingRequest:
    from adainf import shipped
    from adainf.backbones import Options
    from adainf.training.loop import TrainingPlan
    from adainf.training.start import TrainingRequest

    if options["teacher_weights"] and not options["teacher"]:
        raise click.UsageError("--teacher-weights goes with --teacher")
    if options["minutes"] and options["steps"]:
        raise click.UsageError("--minutes and --steps exclude each other")
    minutes = options["minutes"] or (_QUICK_MINUTES if options["quick"] else DEFAULT_MINUTES)
    out: Path = options["out"]
    return TrainingRequest(
        backbone=options["backbone"],
        options=Options(options["weights"], options["labels"], options["size"], options["mean"], options["std"]),
        images=tuple(options["images"]),
        labelled=not options["unlabelled"],
        mix=options["mix"] or (),
        recipe=options["recipe"],
        bound=options["bound"],
        overrun_weight=options["overrun_weight"],
        adapt=options["adapt"],
        rank=options["rank"],
        alpha=options["alpha"] or 2 * options["rank"],
        resolutions=options["resolutions"] or (),
        ceiling=options["ceiling"],
        profile=options["profile"] and shipped.find("profiles", options["profile"], ".json"),
        zoom=options["zoom"],
        least_area=options["least_area"],
        batch=options["batch"],
        seed=options["seed"],
        plan=TrainingPlan(
            options["learning_rate"] or _LEARNING_RATES[options["recipe"]],
            steps=options["steps"],
            seconds=None if options["steps"] else minutes * 60,
            checkpoint_every=options["checkpoint_every"],
        ),
        out=out,
        resume=options["resume"],
        threads=options["threads"],
        device=options["device"],
        batch_norm=options["batch_norm"],
        teacher=options["teacher"],
        teacher_weights=options["teacher_weights"],
    )
