"""`adainfd tail`: print results and changes of state as they arrive, one per line."""

from pathlib import Path

import click

from adainfd.terminal.options import connect_option, key_option, server_option

__all__ = ["command"]


@click.command("tail")
@connect_option
@key_option
@server_option
@click.option("--json", "as_json", is_flag=True, help="Print whole messages, a line each.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many results.")
def command(connect: str, key: Path | None, server: str | None, as_json: bool, count: int | None) -> None:
    """Show the results of a running daemon, and its changes of state, as they come."""
    from adainfd.terminal.tail import show

    show(connect, as_json=as_json, count=count, key=key, server=server)
