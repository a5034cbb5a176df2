"""Programs as users run them who are not root: some folders are closed to them, and some have no home and no name."""

import os
import shutil
import subprocess
from functools import cache

import pytest

__all__ = ["NOBODY", "as_nobody", "as_ordinary_user", "as_user"]

NOBODY = 12345
"""A user whom the password file does not know."""

_MAY_ALL = "-dac_override,-dac_read_search"


def as_ordinary_user() -> list[str]:
    """Goes before a command that is not to open what is closed, as root may."""
    if os.geteuid() != 0:
        return []
    return _first_that_works([["setpriv", "--bounding-set", _MAY_ALL, "--inh-caps", _MAY_ALL]])


def as_nobody() -> list[str]:
    """Goes before a command that is to run for a user without a name, who may read all the same what this one may."""
    user = f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"
    reading = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    mapped = f"--map-user={NOBODY}", f"--map-group={NOBODY}"
    return _first_that_works([["unshare", "--user", *mapped], ["setpriv", *user, *reading]])


def as_user() -> list[str]:
    """Goes before commands that are to run for one ordinary user, who may read what this one may; not for root."""
    if os.geteuid() != 0:
        return []
    user = f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"
    reading = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    return _first_that_works([["setpriv", *user, *reading]])


def _first_that_works(prefixes: list[list[str]]) -> list[str]:
    found = next((prefix for prefix in prefixes if _works(tuple(prefix))), None)
    if found is None:
        pytest.skip(f"needs {' or '.join(prefix[0] for prefix in prefixes)}, and the right to use it")
    return found


@cache
def _works(prefix: tuple[str, ...]) -> bool:
    return (
        shutil.which(prefix[0]) is not None
        and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    )
