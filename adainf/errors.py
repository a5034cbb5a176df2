"""The errors a user may meet, and how a command reports them.

AdainfError            something the user can put right; one line, no traceback
├── InvalidInputError  configuration, file or argument wrong        exit status 78
└── UnavailableError   a needed device, service or hub is missing   exit status 69
"""

from adainf.credentials import redacted

__all__ = ["AdainfError", "InvalidInputError", "UnavailableError", "one_line", "printable"]

# Python decodes a byte of a file's name that is not UTF-8 to this plus the byte (PEP 383).
_SURROGATE_OF_BYTE_0 = 0xDC00


class AdainfError(Exception):
    """Something the user can put right: the message names the thing, the value and what is allowed.

    Credentials in the message are hidden, wherever it goes.
    """

    exit_status = 70

    def __init__(self, message: object = "") -> None:
        super().__init__(redacted(str(message)))


class InvalidInputError(AdainfError):
    """A configuration, file or argument is wrong; trying again will not help (EX_CONFIG)."""

    exit_status = 78


class UnavailableError(AdainfError):
    """A needed device, service or hub is missing; it may come back (EX_UNAVAILABLE)."""

    exit_status = 69


def printable(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters: what cannot be shown is escaped, and the middle is cut.

    Bytes of a file's name that are not UTF-8 are shown as bytes, `\\xe9`.
    """
    text = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
    half = limit // 2
    return text if len(text) <= limit else f"{text[: limit - half - 1]}…{text[-half:]}"


def _escaped(letter: str) -> str:
    byte = ord(letter) - _SURROGATE_OF_BYTE_0
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(letter)[1:-1]


def one_line(error: object, limit: int = 300) -> str:
    """The message of `error` on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
