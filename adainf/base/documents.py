"""TOML and JSON files: whatever they contain, they are read, or rejected with a one-line error; JSON for people."""

import contextlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from adainf.base import files
from adainf.base.errors import AdainfError, InvalidInputError, one_line

__all__ = ["json_file", "kept", "legible_json", "parsed_json", "refusing", "toml_file"]

Parsed = TypeVar("Parsed")

_LINE = 140

# tomllib is pure Python: adversarial input of this size takes it up to a second and 80 MB.
_LONGEST_TOML = 1 << 18
# The largest profile has 40 kB. Parsing takes up to 25 times a file's size in memory.
_LONGEST_JSON = 8 << 20
# tomllib's time and memory grow with the square of a key's parts: one key of 100 kB would take gigabytes.
_DEEPEST = 32
_LEXEME = re.compile(
    # An unterminated string extends to the end of its line or of the text, where tomllib stops too. Searching for its
    # end again from each later quotation mark would take minutes.
    r'"""(?:\\.|[^\\])*?(?:"""(?:"{0,2})|\Z)'
    r"|'''.*?(?:'''(?:'{0,2})|\Z)"
    r'|"(?:\\[^\n]|[^"\\\n])*"?'
    r"|'[^'\n]*'?"
    r"|\#[^\n]*"
    r"|[.\[\]{}=,\n]",
    re.DOTALL,
)


@contextlib.contextmanager
def refusing(subject: str) -> Iterator[None]:
    """Turn whatever a parser raises into an InvalidInputError, `subject: why`.

    A parser may raise anything: RecursionError on deep nesting, ValueError on a number of 5,000 digits, OverflowError
    on a date, MemoryError on a false length. So nothing but a parser belongs inside.
    """
    try:
        yield
    except AdainfError:
        raise
    except Exception as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else one_line(error, 120)
        raise InvalidInputError(f"{subject}: {why}") from None


def toml_file(path: Path, kind: str) -> dict[str, Any]:
    """Return the content of a TOML file; raises InvalidInputError, naming its `kind`, if it is not TOML."""
    text = files.read_text(path, kind, _LONGEST_TOML)
    with refusing(f"{kind} {path}: is not TOML"):
        _check_depth(text)
        return tomllib.loads(text)


def _check_depth(text: str) -> None:
    """Raise ValueError if brackets nest, or keys have parts, deeper than anybody writes."""
    nested = parts = 0
    for match in _LEXEME.finditer(text):
        match match[0]:
            case ".":
                parts += 1
            case "[" | "{":
                nested, parts = nested + 1, 0
            case "]" | "}":
                nested, parts = nested - 1, 0
            case "=" | "," | "\n":
                parts = 0
        if nested > _DEEPEST or parts > _DEEPEST:
            line = text.count("\n", 0, match.start()) + 1
            raise ValueError(f"is nested too deeply (at line {line})")


def json_file(path: Path, kind: str) -> Any:
    """Return the content of a JSON file; raises InvalidInputError, naming its `kind`, if it is not JSON."""
    return parsed_json(files.read(path, kind, _LONGEST_JSON), f"{kind} {path}")


def parsed_json(text: str | bytes, subject: str) -> Any:
    """Parse JSON, rejecting duplicate keys; raises InvalidInputError, naming the `subject`."""
    with refusing(f"{subject}: is not JSON"):
        return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise ValueError(f"key {next(key for key in times if times[key] > 1)[:40]!r} stands there twice")
    return found


def kept(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed | None:
    """Return what `parse` makes of a file kept by an earlier run; None if it is missing, invalid or untrusted."""
    if files.stranger(path) is not None:  # another user may have planted it
        return None
    try:
        content = files.read(path, "state", _LONGEST_JSON)
        with refusing("state"):
            return parse(content)
    except InvalidInputError:
        return None


def legible_json(value: Any, depth: int = 0, before: int = 0) -> str:
    """Return JSON in which values that fit on a line stay on one, for people to read, compare and diff.

    depth, before: how deep the value stands, and how much of its line is taken.
    """
    flat = json.dumps(value)
    if isinstance(value, dict):
        keys = {key: f"{json.dumps(key)}: " for key in value}
        parts = [keys[key] + legible_json(item, depth + 1, len(keys[key])) for key, item in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        brackets, parts = "[]", [legible_json(item, depth + 1) for item in value]
    else:
        return flat
    if depth and before + len(flat) <= _LINE:
        return flat
    inner = "\n" + " " * (depth + 1)
    return brackets[0] + inner + f",{inner}".join(parts) + inner[:-1] + brackets[1]
