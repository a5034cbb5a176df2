"""What sensors share: values, the reason where one is not told, and the numbers in the kernel's files."""

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
    """One file of this folder: reads values by the names that `Readings` gives them.

    lost: of the values of the last reading that are not told, why; a value that is None and not in it comes soon.
    A device that is not there at all has one entry, its first value's.
    """

    lost: dict[str, str]

    def read(self) -> Mapping[str, Value | None]: ...


class UntoldError(Exception):
    """A value is not told, for the reason given. Expected of any value at any time."""


class SensorValues:
    """The values of one reading as they come in."""

    def __init__(self) -> None:
        self.values: dict[str, Value | None] = {}
        self.lost: dict[str, str] = {}

    def ask(self, name: str, question: Callable[[], Value | None]) -> None:
        """Keep what `question` returns, or why it does not."""
        self.values[name] = None
        try:
            self.values[name] = question()
        except UntoldError as reason:
            self.lost[name] = str(reason)

    def derive(self, name: str, source: str, question: Callable[[Any], Value | None]) -> None:
        """Keep what `question` makes of the value `source`; without that, there is none of this for the same reason."""
        if self.values[source] is None:
            self.lose(name, self.lost.get(source))
        else:
            self.ask(name, lambda: question(self.values[source]))

    def lose(self, name: str, reason: str | None) -> None:
        """There is no such value. reason: None where it comes soon."""
        self.values[name] = None
        if reason is not None:
            self.lost[name] = reason


def share(value: float) -> float:
    """`value` as a share from 0 to 1."""
    return round(min(1.0, max(0.0, value)), 4)


def fraction(part: float, whole: float) -> float:
    """`part` of `whole`; raises UntoldError where the whole is said to be nothing."""
    if whole <= 0:
        raise UntoldError(f"{part:g} of {whole:g} is no share")
    return round(part / whole, 4)


def read_text(path: Path) -> str:
    """What stands in a file of the kernel; raises UntoldError with its name."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise UntoldError(f"{path}: {error.strerror}") from error


def read_number(path: Path) -> int:
    """The whole number that is a file of the kernel; raises UntoldError with its name."""
    return number(read_text(path), path)


def number(text: str, path: Path) -> int:
    """A whole number that stands in a file of the kernel; raises UntoldError with its name."""
    try:
        told = int(text)
    except ValueError as error:
        raise UntoldError(f"{path}: {text[:40]!r} is no number") from error
    if abs(told) >= _MOST:
        raise UntoldError(f"{path}: {text[:40]!r} is more than the kernel counts")
    return told


def text_matches(path: Path, kind: "re.Pattern[str]") -> bool:
    """Whether all that stands in a file of the kernel matches; False where it cannot be read."""
    with contextlib.suppress(UntoldError):
        return kind.fullmatch(read_text(path)) is not None
    return False
