"""How a command of ours ends: one line on stderr and an exit status, never a traceback for what a user can mend."""

import sys
from typing import NoReturn

import click

from adainf import output
from adainf.errors import AdainfError, InvalidInputError, one_line

__all__ = ["USAGE", "run"]

USAGE = InvalidInputError.exit_status
"""Exit status of a wrong argument: the same as of any other wrong configuration."""

_LIBGL_REMEDY = (
    "OpenCV cannot be imported: libGL.so.1 is missing; install it (Debian, Ubuntu: apt-get install libgl1), "
    "or replace opencv-python by opencv-python-headless"
)


def run(command: click.Command, name: str) -> None:
    """Run `command` on the process's arguments and exit with its status (README, "Exit status")."""
    try:
        with output.guarded():
            status = command.main(prog_name=name, standalone_mode=False)
    except output.ReaderLeftError:
        sys.exit(0)
    except click.exceptions.Abort:
        sys.exit(0)
    except click.ClickException as error:
        _fail(name, error.format_message(), USAGE)
    except AdainfError as error:
        _fail(name, str(error), error.exit_status)
    except ImportError as error:
        if "libGL" not in str(error):
            raise
        _fail(name, _LIBGL_REMEDY, 69)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(name: str, message: str, status: int) -> NoReturn:
    output.say(f"{name}: {one_line(message, 600)}")
    sys.exit(status)
