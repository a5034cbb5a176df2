"""`adainfd replay`: decide a recorded trace again and compare."""

import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.command("replay")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="[CAMERA=]NAME|FILE",
    help="Decide by this policy instead of the general one, or instead of CAMERA's.",
)
@click.option("--check", is_flag=True, help="Exit 1 where a recomputed decision differs from the recorded one.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw budget, latency and load over time (PNG).")
def command(trace: Path, policies: tuple[str, ...], check: bool, plot: Path | None) -> None:
    """Decide again on a recorded TRACE, and compare."""
    from adainfd.replaying import replay

    if not replay(trace, policies, check=check, plot=plot):
        sys.exit(1)
