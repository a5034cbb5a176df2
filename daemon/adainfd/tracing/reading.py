"""Reading of traces."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line
from adainfd.tracing.lines import SCHEMA, Header, Line
from adainfd.tracing.older import Upgrade

__all__ = ["read"]

_LONGEST_LINE = 1 << 23
# RecursionError: deeply nested JSON. ValueError: text that is not UTF-8.
_MALFORMED = (msgspec.DecodeError, RecursionError, ValueError)


def read(path: Path) -> tuple[Header, Iterator[Line | str]]:
    """Read a trace of this or an older version: its first header and an iterator over the other lines.

    A string among the lines says where and why the trace breaks off; reading continues with the next part, if any.
    Raises InvalidInputError if the file is missing, not a trace, or of another version.
    """
    files.check_file(path, "trace")
    lines = _read(path)
    try:
        header = msgspec.json.decode(next(lines, b""), type=Header)
    except _MALFORMED as error:
        raise InvalidInputError(f"trace {path}: is not a trace of `adainfd run --record` ({one_line(error)})") from None
    if header.schema != SCHEMA:
        raise InvalidInputError(f"trace {path}: schema is {header.schema!r}; this program reads {SCHEMA!r}")
    upgrade = Upgrade()
    header = upgrade.header(header)
    return header, (line if isinstance(line, str) else upgrade.line(line) for line in _decoded(lines))


def _read(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file one by one, since a day's trace does not fit into memory."""
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"trace {path}: cannot be read ({why})") from None


def _decoded(lines: Iterator[bytes]) -> Iterator[Line | str]:
    decode = msgspec.json.Decoder(Line).decode
    intact = True
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            decoded = decode(line)
        except _MALFORMED as error:
            if intact:
                yield f"breaks off at line {number}: {one_line(error, 120)}"
            intact = False
            continue
        intact = intact or isinstance(decoded, Header)
        if intact:
            yield decoded
