"""Errors that a user may meet, and how a command reports them.

AdainfError            something the user can fix; one line, no traceback
├── InvalidInputError  configuration, file or argument wrong        exit status 78
│   └── MissingWeightsError  a network's weights are neither here nor at a hub
└── UnavailableError   a needed device, service or hub is missing   exit status 69
"""

import re
import unicodedata
from collections.abc import Callable

from adainf.base.credentials import redacted

__all__ = [
    "AdainfError",
    "InvalidInputError",
    "MissingWeightsError",
    "UnavailableError",
    "harmless",
    "one_line",
    "printable",
]

# Python decodes a byte of a file name that is not UTF-8 to this plus the byte (PEP 383).
_SURROGATE_OF_BYTE_0 = 0xDC00
# Letters and marks that render as nothing: texts that differ only in them look the same.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Korean vowels and final consonants, each drawn over the consonant before it.
_JOINING = re.compile("[\u1161-\u11ff\ud7b0-\ud7ff]")
_MOST_MARKS = 4
"""The maximum per letter, as on a pointed and accented Hebrew one; hundreds would cover the lines above and below."""


class AdainfError(Exception):
    """An error that the user can fix: the message names the thing, the value and what is allowed.

    Credentials in the message are hidden, wherever it goes.

    >>> try:
    ...     model = adainf.load(name)
    ... except adainf.AdainfError as error:
    ...     sys.exit(str(error))                            # one line, as the commands print it
    """

    exit_status = 70

    def __init__(self, message: object = "") -> None:
        super().__init__(redacted(str(message)))


class InvalidInputError(AdainfError):
    """A configuration, file or argument is wrong; retrying will not help (EX_CONFIG).

    >>> try:
    ...     adainf.Branch.parse("192")
    ... except adainf.InvalidInputError as error:
    ...     print(str(error)[:42])
    branch '192': must be a resolution, a colo
    """

    exit_status = 78


class MissingWeightsError(InvalidInputError):
    """Weights are missing, and there is no hub to fetch them from; other networks of the family can answer."""


class UnavailableError(AdainfError):
    """A needed device, service or hub is missing; it may come back (EX_UNAVAILABLE).

    >>> try:
    ...     model = adainf.load("efficientnet-lite", device="cuda")
    ... except adainf.UnavailableError:
    ...     model = adainf.load("efficientnet-lite", device="cpu")
    """

    exit_status = 69


def printable(text: str, limit: int) -> str:
    """Return the text on one line of at most `limit` characters: unprintables escaped, and the middle cut.

    The single rule for foreign text that goes to a terminal (see `harmless`). Bytes of a file name that are not UTF-8
    are shown as bytes, `\\xe9`.
    """
    text = harmless(text)
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - half - 1]}…{text[len(text) - half :]}"


def harmless(text: str, escape: Callable[[str], str] | None = None) -> str:
    """Return the text with every character escaped that would act on a terminal, or hide.

    Escaped are control and format characters (C0, C1, bidirectional, zero-width), line breaks, spaces other than
    U+0020, surrogates, unassigned and invisible characters, marks without a letter, and marks past the fourth on a
    letter. escape: escapes one character, by default as Python does.
    """
    if text.isascii() and text.isprintable():
        return text
    escape = escape or _escaped
    shown: list[str] = []
    marks = _MOST_MARKS
    for letter in text:
        marks = marks + 1 if _is_mark(letter) else 0
        shows = letter.isprintable() and marks <= _MOST_MARKS and not _INVISIBLE.match(letter)
        shown.append(letter if shows else escape(letter))
    return "".join(shown)


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("M") or _JOINING.match(letter) is not None


def _escaped(letter: str) -> str:
    byte = ord(letter) - _SURROGATE_OF_BYTE_0
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()


def one_line(error: object, limit: int = 300) -> str:
    """Return the message of `error` on one line of at most `limit` characters, safe for a terminal."""
    text = harmless(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
