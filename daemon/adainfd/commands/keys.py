"""`adainfd keys`: create and show CURVE keys."""

from pathlib import Path

import click

from adainf.base import output
from adainf.process.command import Group

__all__ = ["command"]


@click.group("keys", cls=Group)
def command() -> None:
    """Make and show the keys (CURVE) that say who may read the stream."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def new(file: Path) -> None:
    """Make a pair of keys: FILE.key, to give away, and FILE.key_secret, to keep."""
    from adainfd.wire.keys import KeyPair

    output.show(KeyPair.new(file).public)


@command.command()
@click.argument("told", metavar="FILE|FOLDER|KEY")
def show(told: str) -> None:
    """Show the public key in a file, or those in a folder with their names."""
    from adainf.base import files
    from adainfd.wire.keys import AllowList, public_key

    if not files.is_folder(Path(told), "key"):
        output.show(public_key(told))  # the text as given: a key may contain //, which Path would collapse
        return
    for name, key in AllowList(Path(told)):
        output.show(f"{key}  {name}")
