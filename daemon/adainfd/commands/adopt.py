"""`adainfd adopt`: switch a configuration file to another run or profile."""

from pathlib import Path

import click

from adainf.base import output

__all__ = ["command"]


@click.command("adopt")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", "trained", type=click.Path(path_type=Path), metavar="FOLDER", help="What `adainf train` made.")
@click.option("--profile", metavar="NAME|FILE", help="What calibration learned.")
def command(file: Path, trained: Path | None, profile: str | None) -> None:
    """Take up another run or profile in the configuration FILE, checked first; `rollback` undoes it."""
    if trained is None and profile is None:
        raise click.UsageError("give --run, --profile or both")
    from adainfd import adopting

    output.show(f"{file}: {adopting.adopt(file, run=trained, profile=profile)}; restart the daemon")
