"""Files that hold a password or a secret key: where they are for this process, and whether they are its own."""

import contextlib
import os
import stat
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError

__all__ = ["at_hand", "check", "password"]

_FOLDER = Path("/etc/adainf/keys")
_CREDENTIALS_FOLDER = Path("/run/credentials")
_CREDENTIAL_PREFIX = "keys_"
_LONGEST_PASSWORD = 4096


def at_hand(path: Path) -> Path:
    """Where the secret that `path` names is for this process.

    What lies in `/etc/adainf/keys` is for root alone; systemd gives a service copies, its credentials.
    """
    name = path.name.removeprefix(_CREDENTIAL_PREFIX)
    if "CREDENTIALS_DIRECTORY" in os.environ:
        credential = Path(os.environ["CREDENTIALS_DIRECTORY"], f"{_CREDENTIAL_PREFIX}{name}")
        if files.is_there(credential):
            return credential
    if path.is_relative_to(_CREDENTIALS_FOLDER) and not os.path.exists(path):  # noqa: PTH110 -- Path.exists raises
        return _FOLDER / name
    return path


def check(path: Path, kind: str, mode: str = "600") -> None:
    """Raise InvalidInputError, naming its `kind`, where others may read a file, write to it or replace it.

    A group may read it: systemd hands a service its credentials that way. What does not exist is left to who reads it.
    """
    with contextlib.suppress(OSError, ValueError):
        permissions = path.stat().st_mode
        if permissions & stat.S_IROTH and not stat.S_ISDIR(permissions):
            raise InvalidInputError(f"{kind} {path}: everyone on this box may read it; chmod {mode} it")
        if permissions & (stat.S_IWGRP | stat.S_IWOTH) and stat.S_ISREG(permissions):
            raise InvalidInputError(f"{kind} {path}: others than its owner may write to it; chmod {mode} it")
        _check_folders(path, kind)


def _check_folders(path: Path, kind: str) -> None:
    """In a folder of everyone's only what belongs to us or root is safe, and only where others may not rename it."""
    for place in (path.absolute(), Path(os.path.realpath(path))):
        for inner, folder in zip((place, *place.parents), place.parents, strict=False):
            mode = folder.stat().st_mode
            if not mode & stat.S_IWOTH:
                continue
            if not mode & stat.S_ISVTX or inner.lstat().st_uid not in (0, os.geteuid()):
                raise InvalidInputError(f"{kind} {path}: everyone on this box may replace it; {folder} is open to all")


def password(path: Path, kind: str) -> str:
    """The password in a file, a single line; raises InvalidInputError, naming its `kind`, on what is none."""
    path = at_hand(path)
    check(path, kind, "640")
    told = files.read_text(path, kind).rstrip("\r\n")
    if not told or len(told) > _LONGEST_PASSWORD or any(sign in told for sign in "\0\r\n"):
        raise InvalidInputError(
            f"{kind} {path}: must hold one line, the password, of at most {_LONGEST_PASSWORD} letters"
        )
    return told
