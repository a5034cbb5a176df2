"""`adainfd check-config`: check a configuration file and everything it refers to."""

from pathlib import Path

import click

from adainf.base import output

__all__ = ["command"]


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, readable=False))
def command(file: Path) -> None:
    """Check a configuration file with its policies, profile, weights and keys, and start nothing.

    Root looks at a service's configuration with the eyes of the service.
    """
    from adainfd.doctor import eyes

    output.show(f"{file}: good; {eyes.check(file, eyes.service_of(file))}")
