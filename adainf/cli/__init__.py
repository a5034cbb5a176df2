"""The command `adainf`: one module per subcommand; heavy imports wait until a subcommand needs them."""

import os

import click

from adainf import __version__
from adainf.cli import calibrate, evaluate, export, fetch, measure, pretrain, teach, train
from adainf.process.command import Group, run

__all__ = ["cli", "main"]


def main() -> None:
    """Run the program `adainf`."""
    # OpenCV reads these at import; without them it logs a broken picture in addition to our one-line message.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    run(cli, "adainf")


@click.group(cls=Group)
@click.version_option(__version__)
def cli() -> None:
    """Pretrained vision models whose compute follows a budget."""


for module in (calibrate, evaluate, export, fetch, measure, pretrain, teach, train):
    cli.add_command(module.command)
