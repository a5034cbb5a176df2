"""Files that hold a password or a secret key: finding them, and checking their permissions."""

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
    """Return where this process finds the secret that `path` names.

    Only root can read `/etc/adainf/keys`; systemd passes a service copies of its files as credentials.
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
    """Raise InvalidInputError, naming its `kind`, if other users may read, write or replace a file.

    Group read access is allowed, because systemd passes credentials that way. A missing file is left to its reader.
    """
    with contextlib.suppress(OSError, ValueError):
        permissions = path.stat().st_mode
        if permissions & stat.S_IROTH and not stat.S_ISDIR(permissions):
            raise InvalidInputError(f"{kind} {path}: everyone on this box may read it; chmod {mode} it")
        if permissions & (stat.S_IWGRP | stat.S_IWOTH) and stat.S_ISREG(permissions):
            raise InvalidInputError(f"{kind} {path}: others than its owner may write to it; chmod {mode} it")
        _check_folders(path, kind)


def _check_folders(path: Path, kind: str) -> None:
    """Accept a world-writable folder only if it is sticky and its entry belongs to us or root."""
    for place in (path.absolute(), Path(os.path.realpath(path))):
        for inner, folder in zip((place, *place.parents), place.parents, strict=False):
            mode = folder.stat().st_mode
            if not mode & stat.S_IWOTH:
                continue
            if not mode & stat.S_ISVTX or inner.lstat().st_uid not in (0, os.geteuid()):
                raise InvalidInputError(f"{kind} {path}: everyone on this box may replace it; {folder} is open to all")


def password(path: Path, kind: str) -> str:
    """Read the password in a file, a single line; raises InvalidInputError, naming its `kind`, on anything else."""
    path = at_hand(path)
    check(path, kind, "640")
    secret = files.read_text(path, kind).rstrip("\r\n")
    if not secret or len(secret) > _LONGEST_PASSWORD or any(character in secret for character in "\0\r\n"):
        raise InvalidInputError(
            f"{kind} {path}: must hold one line, the password, of at most {_LONGEST_PASSWORD} letters"
        )
    return secret
