"""The location of the state that the daemon keeps from one start to the next."""

import hashlib
import os
from pathlib import Path

__all__ = ["file", "folder"]


def folder() -> Path:
    """Return systemd's state directory, or `adainf` in the user's state directory (XDG)."""
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.partition(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "adainf"


def file(kind: str, *key: str) -> Path:
    """Return the path of the state file of a `kind` for a `key`."""
    return folder() / kind / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"
