"""`adainfd rollback`: restore the configuration from before `adopt`."""

from pathlib import Path

import click

from adainf.base import output

__all__ = ["command"]


@click.command("rollback")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Go back to the configuration that FILE held before `adopt`; once more goes forward again."""
    from adainfd import adopting

    output.show(f"{file}: {adopting.rollback(file)}; restart the daemon")
