"""Documents that somebody leaves in a file, TOML or JSON: whatever is in them, they are read or refused in one line."""

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

__all__ = ["json_file", "kept", "parsed_json", "refusing", "toml_file"]

Told = TypeVar("Told")

# tomllib is written in Python: what is made to be slow takes it up to a second for so much, and 80 MB.
_LONGEST_TOML = 1 << 18
# The largest profile has 40 kB. What is read takes up to 25 times as much memory.
_LONGEST_JSON = 8 << 20
# Its time and memory grow with the square of a key's parts: one key of 100 kB would take gigabytes.
_DEEPEST = 32
_LEXEME = re.compile(
    # A string without an end is taken to the end of its line or of the text: tomllib stops there too. Looking for its
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
    """Where a document is parsed: what the parser raises on it is an InvalidInputError, `subject: why`.

    A parser may raise anything: RecursionError on what is deeply nested, ValueError on a number of 5,000 digits,
    OverflowError on a date, MemoryError on a length that is not true. So nothing but a parser belongs inside.
    """
    try:
        yield
    except AdainfError:
        raise
    except Exception as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else one_line(error, 120)
        raise InvalidInputError(f"{subject}: {why}") from None


def toml_file(path: Path, kind: str) -> dict[str, Any]:
    """What stands in a TOML file; raises InvalidInputError, naming its `kind`, on a file that is none."""
    text = files.read_text(path, kind, _LONGEST_TOML)
    with refusing(f"{kind} {path}: is not TOML"):
        _check_depth(text)
        return tomllib.loads(text)


def _check_depth(text: str) -> None:
    """Raise ValueError where brackets are nested, or keys have parts, beyond what anybody writes."""
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
    """What stands in a JSON file; raises InvalidInputError, naming its `kind`, on a file that is none."""
    return parsed_json(files.read(path, kind, _LONGEST_JSON), f"{kind} {path}")


def parsed_json(text: str | bytes, subject: str) -> Any:
    """What JSON says, each key once; raises InvalidInputError, naming the `subject`."""
    with refusing(f"{subject}: is not JSON"):
        return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise ValueError(f"key {next(key for key in times if times[key] > 1)[:40]!r} stands there twice")
    return found


def kept(path: Path, parse: Callable[[bytes], Told]) -> Told | None:
    """What `parse` makes of a file that an earlier run left; None where there is none or it makes no sense."""
    if files.stranger(path) is not None:  # another user may have put it there
        return None
    try:
        content = files.read(path, "state", _LONGEST_JSON)
        with refusing("state"):
            return parse(content)
    except InvalidInputError:
        return None
