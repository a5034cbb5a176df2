"""`adainfd rollback`: restore the configuration from before `adopt`, or classes from before `teach`."""

from pathlib import Path

import click

from adainf.base import output

__all__ = ["command"]


@click.command("rollback")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--classes", is_flag=True, help="FILE holds classes, and was taught again by `adainf teach`.")
def command(file: Path, classes: bool) -> None:
    """Go back to the configuration that FILE held before `adopt`; once more goes forward again."""
    from adainfd import adopting

    if classes:
        output.show(f"{file}: {adopting.rollback_classes(file)}; reload the daemon")
    else:
        output.show(f"{file}: {adopting.rollback(file)}; restart the daemon")
