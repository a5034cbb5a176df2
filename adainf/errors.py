"""The errors a user may meet, and how a command reports them.

AdainfError            something the user can put right; one line, no traceback
├── InvalidInputError  configuration, file or argument wrong        exit status 78
└── UnavailableError   a needed device, service or hub is missing   exit status 69
"""

__all__ = ["AdainfError", "InvalidInputError", "UnavailableError", "one_line", "printable"]


class AdainfError(Exception):
    """Something the user can put right: the message names the thing, the value and what is allowed."""

    exit_status = 70


class InvalidInputError(AdainfError):
    """A configuration, file or argument is wrong; trying again will not help (EX_CONFIG)."""

    exit_status = 78


class UnavailableError(AdainfError):
    """A needed device, service or hub is missing; it may come back (EX_UNAVAILABLE)."""

    exit_status = 69


def printable(message: str, limit: int) -> str:
    """A message as a line for a terminal: what cannot be shown is escaped, and too much is cut from its middle."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in " ".join(message.split()))
    half = limit // 2
    return text if len(text) <= limit else f"{text[: limit - half - 1]}…{text[-half:]}"


def one_line(error: object, limit: int = 300) -> str:
    """The message of `error` on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
