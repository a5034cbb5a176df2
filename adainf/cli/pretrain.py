"""adainf pretrain: train a ResNet for small pictures from scratch."""

from typing import Any

import click

from adainf.base import output
from adainf.cli.options import (
    DEFAULT_MINUTES,
    PATH,
    checkpoints_option,
    device_option,
    threads_option,
    use_all_of_the_processor,
)

__all__ = ["command"]


@click.command("pretrain")
@click.option("--backbone", required=True, help="cifar/resnet18, or cifar/resnet20, 32, 44, 56, 110.")
@click.option("--images", type=PATH, required=True, help="A folder of pictures, one folder a class.")
@click.option("--size", type=click.IntRange(min=8), default=32, show_default=True, help="Pixels a side.")
@threads_option
@device_option
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help=f"[default: {DEFAULT_MINUTES:.0f}]")
@click.option("--steps", type=click.IntRange(min=1), help="In place of --minutes.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True)
@click.option(
    "--label-smoothing",
    type=click.FloatRange(0, 1, max_open=True),
    default=0,
    show_default=True,
    help="Share of a label that is spread over all classes.",
)
@click.option("--batch", type=click.IntRange(min=2), default=128, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside the output.")
@checkpoints_option
@click.option("--out", type=PATH, required=True, help="The weights to write (.safetensors).")
def command(**options: Any) -> None:
    """Train a ResNet for small pictures from nothing, for the commands that take --weights.

    Every tenth picture is held out; how many of those are right is printed in the end.
    """
    use_all_of_the_processor()
    if options["minutes"] and options["steps"]:
        raise click.UsageError("--minutes and --steps exclude each other")
    import torch

    from adainf.engines.processor import usable_processors
    from adainf.training import pretrain as pretraining

    threads = options["threads"] or usable_processors()
    torch.set_num_threads(threads)
    outcome = pretraining.pretrain(
        pretraining.Pretraining(
            backbone=options["backbone"],
            folder=options["images"],
            side=options["size"],
            batch=options["batch"],
            learning_rate=options["learning_rate"],
            seed=options["seed"],
            out=options["out"],
            resume=options["resume"],
            steps=options["steps"],
            seconds=None if options["steps"] else (options["minutes"] or DEFAULT_MINUTES) * 60,
            checkpoint_every=options["checkpoint_every"],
            label_smoothing=options["label_smoothing"],
            threads=threads,
            device=options["device"],
        )
    )
    progress = outcome.progress
    output.show(
        f"{options['out']}: {progress.step} steps in {progress.seconds:.0f} s on {outcome.learnt_from} pictures; "
        f"top-1 {outcome.accuracy:.1%} of {outcome.held_out} held out"
    )
