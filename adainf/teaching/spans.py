"""Spans of a video: from when to when it shows what, one a line of a CSV file."""

import csv
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from adainf.base import files
from adainf.base.errors import InvalidInputError, one_line
from adainf.classes.labels import UNKNOWN
from adainf.classes.taught import check_label

__all__ = ["Span", "read_spans"]

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of a video, from `start` up to `end`, that show `label`."""

    start: float
    end: float
    label: str

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g} s, {self.label!r}"


def read_spans(path: Path) -> tuple[Span, ...]:
    """Read a CSV file with the columns start, end and label; return its spans by rising start.

    A first line that names the columns is passed over. Raises InvalidInputError on a line that is none, and on spans
    that overlap.
    """
    text = files.read_text(path, "spans", _MOST_BYTES)
    rows = [(number, row) for number, row in enumerate(csv.reader(text.splitlines()), 1) if "".join(row).strip()]
    if rows and [cell.strip().lower() for cell in rows[0][1]] == ["start", "end", "label"]:
        del rows[0]
    if not rows:
        raise InvalidInputError(f"spans {path}: has no line; a line is START,END,LABEL in seconds")
    spans = sorted((_span(row, f"spans {path}: line {number}") for number, row in rows), key=lambda span: span.start)
    for earlier, later in pairwise(spans):
        if later.start < earlier.end:
            raise InvalidInputError(f"spans {path}: {earlier} and {later} overlap")
    return tuple(spans)


def _span(row: list[str], subject: str) -> Span:
    try:
        start, end, label = float(row[0]), float(row[1]), row[2].strip()
    except (ValueError, IndexError):
        start = end = math.nan
        label = ""
    if len(row) != 3 or not (0 <= start < end < math.inf):
        line = one_line(repr(",".join(row)), 60)
        raise InvalidInputError(f"{subject}: {line} is not START,END,LABEL with 0 <= START < END in seconds")
    if label != UNKNOWN:  # may be evaluated, though not taught
        check_label(label)
    return Span(start, end, label)
