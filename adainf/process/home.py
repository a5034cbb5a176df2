"""A home folder for a user who has none, such as a container's `--user 12345`: ours and our libraries' files go there.

PyTorch, the hub's client, Matplotlib and Python itself ask for `$HOME` and the user's name in many ways, and fail or
write into a folder called `~` where there is neither: both are set for this process and all that it starts.
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
    """Set `$HOME`, where this user has no home that can be written to, and `$LOGNAME`, where it has no name.

    Root has its own home, also where `sudo` leaves it that of another user, who could put there what root would load,
    and could not write any more what root has put there.
    """
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        entry = None
        os.environ.setdefault("LOGNAME", f"user-{os.getuid()}")
    if entry is not None and _is_borrowed(os.environ.get("HOME", "")):
        os.environ["HOME"] = entry.pw_dir
    home = os.environ.get("HOME") or (entry.pw_dir if entry is not None else "")
    if not any(_may_write(Path(home, ours)) for ours in _OURS):
        os.environ["HOME"] = str(_service() or _temporary())


def notice() -> str | None:
    """What to tell a user whose home is a temporary one."""
    home = Path(os.environ.get("HOME", ""))
    chosen = {"XDG_CACHE_HOME", "XDG_STATE_HOME"} <= os.environ.keys()
    if chosen or not home.name.startswith(_name()) or str(home.parent) != tempfile.gettempdir():
        return None
    return (
        f"user {os.getuid()} has no home folder: what is kept from one start to the next is in {home}, as long as that "
        "is there; give HOME, or XDG_CACHE_HOME and XDG_STATE_HOME"
    )


def _is_borrowed(home: str) -> bool:
    """Whether this is root, in the home of somebody else."""
    with contextlib.suppress(OSError, ValueError):
        return os.geteuid() == 0 and Path(home).is_absolute() and Path(home).stat().st_uid != 0
    return False


def _may_write(folder: Path) -> bool:
    """Whether files can be made in `folder`, which may have to be made itself."""
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        str(folder).encode()
    except (OSError, ValueError):
        return False
    return folder.is_absolute() and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _service() -> Path | None:
    """The folder that systemd keeps for a service."""
    told = (os.environ.get(name, "").partition(":")[0] for name in _SERVICE)
    return next((Path(folder) for folder in told if folder and _may_write(Path(folder))), None)


def _name() -> str:
    return f"adainf-{os.getuid()}"


def _temporary() -> Path:
    """A private folder of this user's among the temporary ones: the same at the next start, if it is still ours."""
    try:
        folder = Path(tempfile.gettempdir()) / _name()
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
        return folder if ours else Path(tempfile.mkdtemp(prefix=f"{_name()}-"))
    except OSError:  # nothing can be written at all: who would keep something says so
        return Path("/")
