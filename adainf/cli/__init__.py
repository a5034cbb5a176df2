"""The command `adainf`: a module for each of its commands, and nothing heavy imported before one needs it."""

import os

import click

from adainf import __version__
from adainf.cli import calibrate, evaluate, export, fetch, measure, pretrain, train
from adainf.process.command import Group, run

__all__ = ["cli", "main"]


def main() -> None:
    """The program `adainf`."""
    # Read as OpenCV is imported: what it says of a broken picture would stand beside our one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    run(cli, "adainf")


@click.group(cls=Group)
@click.version_option(__version__)
def cli() -> None:
    """Pretrained vision models whose compute follows a budget."""


for module in (calibrate, evaluate, export, fetch, measure, pretrain, train):
    cli.add_command(module.command)
