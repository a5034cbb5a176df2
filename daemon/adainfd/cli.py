"""The `adainfd` command group; heavy imports are deferred until a command needs them."""

import sys

import click

from adainf import __version__
from adainf.process import command
from adainfd.commands import adopt, check_config, demo, doctor, keys, label, relay, replay, rollback, run, tail, watch

__all__ = ["adainfd", "main"]


@click.group(cls=command.Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def adainfd() -> None:
    """Recognise what cameras see, within a compute budget that follows the box and the scene."""


for module in (adopt, check_config, demo, doctor, keys, label, relay, replay, rollback, run, tail, watch):
    adainfd.add_command(module.command)


def main() -> None:
    """Run the `adainfd` console script; an interrupt exits with status 0."""
    try:
        command.run(adainfd, "adainfd")
    except KeyboardInterrupt:
        sys.exit(0)
