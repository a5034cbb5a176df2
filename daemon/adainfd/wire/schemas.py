"""Writes the schemas of the messages: `python -m adainfd.wire.schemas docs/schemas`."""

import json
import sys
from pathlib import Path

from adainfd.wire.messages import SCHEMAS, json_schema

__all__ = ["text", "write"]


def text(kind: str) -> str:
    """The schema file of one kind of message."""
    return json.dumps(json_schema(kind), indent=2) + "\n"


def write(folder: Path) -> None:
    """Write a file a kind of message into `folder`."""
    for kind in SCHEMAS:
        (folder / f"{kind}.json").write_text(text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
