"""`adainfd label`: sort collected pictures into classes."""

from pathlib import Path

import click

from adainf.base import output

__all__ = ["command"]


@click.command("label")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--into", metavar="CLASS", help="Move the FILEs into the folder of this class.")
@click.option("--drop", is_flag=True, help="Remove the FILEs.")
@click.option(
    "--serve",
    is_flag=False,
    flag_value="127.0.0.1:9601",
    metavar="[ADDRESS:PORT]",
    help="Sort on a page instead, for this box alone; by default 127.0.0.1:9601.",
)
def command(folder: Path, files: tuple[str, ...], into: str | None, drop: bool, serve: str | None) -> None:
    """Sort the pictures of FOLDER/unsorted into classes; without an option, list them, the least certain first.

    FILE is a name from that list, or its path.
    """
    if (into is not None) + drop + (serve is not None) > 1:
        raise click.UsageError("give one of --into, --drop and --serve")
    if bool(files) != (into is not None or drop):
        raise click.UsageError("FILEs go with --into or --drop")
    from adainfd.labelling.sorting import Labels

    labels = Labels(folder)
    labels.check()
    names = [labels.name_of(file) for file in files]
    if into is not None:
        output.show(f"{labels.put(names, into)} pictures moved into {folder / into}")
    elif drop:
        output.show(f"{labels.drop(names)} pictures removed")
    elif serve is not None:
        from adainfd.labelling.serving import serve as serve_page

        serve_page(labels, serve)
    else:
        from adainfd.labelling.listing import show

        show(labels)
