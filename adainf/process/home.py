"""A home folder for a user without one, such as a container's `--user 12345`, for this program and its libraries.

PyTorch, the hub's client, Matplotlib and Python itself look up `$HOME` and the user's name in many ways. Without them
they fail or write into a folder called `~`, so both are set for this process and its children.
"""

import contextlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

__all__ = ["notice", "settle"]

_SERVICE = ("CACHE_DIRECTORY", "STATE_DIRECTORY")
_OURS = (".cache/adainf", ".local/state/adainf")


def settle() -> None:
    """Set `$HOME` if this user has no writable home, and `$LOGNAME` if this user has no name.

    Root gets its own home, even if `sudo` has kept another user's: that user could plant files that root would load,
    and could no longer write files that root has created.
    """
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        entry = None
        os.environ.setdefault("LOGNAME", f"user-{os.getuid()}")
    if entry is not None and _is_borrowed(os.environ.get("HOME", "")):
        os.environ["HOME"] = entry.pw_dir
    home = os.environ.get("HOME") or (entry.pw_dir if entry is not None else "")
    if not any(_may_write(Path(home, subfolder)) for subfolder in _OURS):
        os.environ["HOME"] = str(_service() or _temporary())


def notice() -> str | None:
    """Return the notice for a user whose home is a temporary folder; None for any other."""
    home = Path(os.environ.get("HOME", ""))
    chosen = {"XDG_CACHE_HOME", "XDG_STATE_HOME"} <= os.environ.keys()
    if chosen or not home.name.startswith(_name()) or str(home.parent) != tempfile.gettempdir():
        return None
    return (
        f"user {os.getuid()} has no home folder: what is kept from one start to the next is in {home}, as long as that "
        "is there; give HOME, or XDG_CACHE_HOME and XDG_STATE_HOME"
    )


def _is_borrowed(home: str) -> bool:
    """Return whether this is root with another user's home."""
    with contextlib.suppress(OSError, ValueError):
        return os.geteuid() == 0 and Path(home).is_absolute() and Path(home).stat().st_uid != 0
    return False


def _may_write(folder: Path) -> bool:
    """Return whether files can be created in `folder`, which may itself have to be created."""
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        str(folder).encode()
    except (OSError, ValueError):
        return False
    return folder.is_absolute() and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _service() -> Path | None:
    """Return the first writable folder that systemd provides for the service; None without one."""
    folders = (os.environ.get(name, "").partition(":")[0] for name in _SERVICE)
    return next((Path(folder) for folder in folders if folder and _may_write(Path(folder))), None)


def _name() -> str:
    return f"adainf-{os.getuid()}"


def _temporary() -> Path:
    """Return a private folder below the temporary one: the same at the next start, if this user still owns it."""
    try:
        folder = Path(tempfile.gettempdir()) / _name()
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        return folder if private else Path(tempfile.mkdtemp(prefix=f"{_name()}-"))
    except OSError:  # nothing is writable; whoever needs to write a file reports it
        return Path("/")
