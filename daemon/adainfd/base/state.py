"""Where the daemon keeps what it has learned from one start to the next."""

import hashlib
import os
from pathlib import Path

__all__ = ["file", "folder"]


def folder() -> Path:
    """Systemd's state directory, else one below the user's."""
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.partition(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "adainf"


def file(kind: str, *key: str) -> Path:
    """The file of one `kind` for a `key`."""
    return folder() / kind / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"
