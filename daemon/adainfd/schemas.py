"""JSON Schemas of messages and of user-edited files, written by `python -m adainfd.schemas docs/schemas`."""

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
"""The names of all schemas: message kinds, then file kinds."""


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a message or file kind."""
    if kind in _FILES:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_FILES[kind].model_json_schema()}
    return messages.json_schema(kind)


def text(kind: str) -> str:
    """Return the content of the schema file of a message or file kind."""
    return json.dumps(schema(kind), indent=2) + "\n"


def write(folder: Path) -> None:
    """Write one KIND.json per kind into `folder`."""
    for kind in KINDS:
        (folder / f"{kind}.json").write_text(text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
