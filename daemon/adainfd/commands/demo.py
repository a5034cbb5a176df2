"""`adainfd demo`: run a real daemon on a real video."""

import sys

import click

from adainfd.terminal.options import Seconds

__all__ = ["command"]


@click.command("demo")
@click.argument("video", required=False)
@click.option("--seconds", type=Seconds(min=5), default=20.0, show_default=True, help="How long to show it.")
def command(video: str | None, seconds: float) -> None:
    """Show the daemon at work on VIDEO, or on a clip that comes with the extra `demo`."""
    from adainfd.terminal.demo import show

    status = show(video, seconds)
    if status:
        sys.exit(status)
