"""`adainfd watch`: show a live view of a running daemon."""

from pathlib import Path

import click

from adainfd.terminal.options import connect_option, key_option, server_option

__all__ = ["command"]


@click.command("watch")
@connect_option
@key_option
@server_option
@click.option("--once", is_flag=True, help="Show how it stands after some seconds, and end.")
def command(connect: str, key: Path | None, server: str | None, once: bool) -> None:
    """Watch a running daemon in the terminal: cameras, labels, budgets and what limits them, latency, drops."""
    from adainfd.terminal.watch import show

    show(connect, key=key, server=server, once=once)
