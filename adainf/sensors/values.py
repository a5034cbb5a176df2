"""Shared by all sensors: values, the reasons for missing ones, and numbers in kernel files."""

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "Sensor",
    "SensorValues",
    "UntoldError",
    "Value",
    "fraction",
    "number",
    "read_number",
    "read_text",
    "share",
    "text_matches",
]

# The kernel counts in 64 bits.
_MOST = 1 << 64

Value = float | tuple[str, ...]


class Sensor(Protocol):
    """A sensor, one per file of this folder: reads values by their names in `Readings`.

    lost: the reason for each value missing from the last reading; a value that is None but not listed will follow soon.
    A device that is absent altogether has a single entry, its first value's.
    """

    lost: dict[str, str]

    def read(self) -> Mapping[str, Value | None]: ...


class UntoldError(Exception):
    """A value is unavailable, for the given reason. Expected of any value at any time."""


class SensorValues:
    """The values of one reading, as they are collected."""

    def __init__(self) -> None:
        self.values: dict[str, Value | None] = {}
        self.lost: dict[str, str] = {}

    def ask(self, name: str, question: Callable[[], Value | None]) -> None:
        """Store the result of `question`, or the reason why it raised UntoldError."""
        self.values[name] = None
        try:
            self.values[name] = question()
        except UntoldError as reason:
            self.lost[name] = str(reason)

    def derive(self, name: str, source: str, question: Callable[[Any], Value | None]) -> None:
        """Store what `question` derives from `source`; if that is missing, so is this value, for the same reason."""
        if self.values[source] is None:
            self.lose(name, self.lost.get(source))
        else:
            self.ask(name, lambda: question(self.values[source]))

    def lose(self, name: str, reason: str | None) -> None:
        """Record a missing value. reason: None if it will follow soon."""
        self.values[name] = None
        if reason is not None:
            self.lost[name] = reason


def share(value: float) -> float:
    """Return `value` clamped to 0..1, rounded to four decimals."""
    return round(min(1.0, max(0.0, value)), 4)


def fraction(part: float, whole: float) -> float:
    """Return `part` / `whole`, rounded to four decimals; raises UntoldError if `whole` is not above 0."""
    if whole <= 0:
        raise UntoldError(f"{part:g} of {whole:g} is no share")
    return round(part / whole, 4)


def read_text(path: Path) -> str:
    """Return the stripped text of a kernel file; raises UntoldError naming the file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise UntoldError(f"{path}: {error.strerror}") from error


def read_number(path: Path) -> int:
    """Return the integer in a kernel file; raises UntoldError naming the file."""
    return number(read_text(path), path)


def number(text: str, path: Path) -> int:
    """Return the integer in `text`, read from the kernel file `path`; raises UntoldError naming the file."""
    try:
        value = int(text)
    except ValueError as error:
        raise UntoldError(f"{path}: {text[:40]!r} is no number") from error
    if abs(value) >= _MOST:
        raise UntoldError(f"{path}: {text[:40]!r} is more than the kernel counts")
    return value


def text_matches(path: Path, kind: "re.Pattern[str]") -> bool:
    """Return whether the whole text of a kernel file matches; False if it cannot be read."""
    with contextlib.suppress(UntoldError):
        return kind.fullmatch(read_text(path)) is not None
    return False
