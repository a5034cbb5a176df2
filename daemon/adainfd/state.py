"""Where the daemon keeps what it has learned from one start to the next."""

import hashlib
import os
from pathlib import Path

__all__ = ["file"]


def file(kind: str, *key: str) -> Path:
    """The file of one `kind` for a `key`: below systemd's state directory, else below the user's."""
    if service := os.environ.get("STATE_DIRECTORY"):
        folder = Path(service.partition(":")[0])
    else:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "adainf"
    return folder / kind / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"
