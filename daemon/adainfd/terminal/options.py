"""Options and parameter types shared by several commands."""

import math
from pathlib import Path
from typing import Any

import click

__all__ = ["DEFAULT_ENDPOINT", "Seconds", "connect_option", "key_option", "server_option"]

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5600"


class Seconds(click.FloatRange):
    """A click type for a number of seconds within bounds; NaN is refused."""

    name = "seconds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        seconds = super().convert(value, parameter, context)
        if math.isnan(seconds):  # passes every bounds check, since comparisons with NaN are false
            self.fail(f"{value!r} is no number of seconds", parameter, context)
        return seconds


connect_option = click.option(
    "--connect", default=DEFAULT_ENDPOINT, show_default=True, metavar="ENDPOINT", help="Where to listen."
)
key_option = click.option(
    "--key", type=click.Path(path_type=Path), help="Our keys (FILE.key_secret), where the daemon wants them."
)
server_option = click.option("--server", metavar="KEY|FILE", help="The daemon's public key; goes with --key.")
