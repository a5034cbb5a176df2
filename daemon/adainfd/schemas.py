"""Writes the schemas of messages and of the files an owner edits: `python -m adainfd.schemas docs/schemas`."""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from adainf.control import Policy
from adainfd.config.configuration import Configuration
from adainfd.relaying.config import RelayConfiguration
from adainfd.wire import messages

__all__ = ["KINDS", "schema", "text", "write"]

_FILES: dict[str, type[BaseModel]] = {"configuration": Configuration, "policy": Policy, "relay": RelayConfiguration}

KINDS = (*messages.SCHEMAS, *_FILES)
"""What has a schema: kinds of messages, then kinds of files."""


def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of message or file."""
    if kind in _FILES:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_FILES[kind].model_json_schema()}
    return messages.json_schema(kind)


def text(kind: str) -> str:
    """The schema file of one kind."""
    return json.dumps(schema(kind), indent=2) + "\n"


def write(folder: Path) -> None:
    """Write a file a kind into `folder`."""
    for kind in KINDS:
        (folder / f"{kind}.json").write_text(text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
