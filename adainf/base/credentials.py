"""Hide credentials in any text an owner may see: users and passwords in addresses, and values of parameters.

Where a password ends, or whether a misspelt address is one, cannot be known for sure. In doubt, text is hidden.
"""

import io
import os
import re
from typing import TextIO

__all__ = ["RedactedStream", "holds_password", "redacted", "without_credentials"]

_HIDDEN = "***"
# Placeholders for text that is already hidden, during a scan: Unicode noncharacters, so they occur in no text.
_USER_MARK, _VALUE_MARK = "\ufdd0", "\ufdd1"

# As typed, percent-encoded, or from an East Asian keyboard.
_AT = re.compile(r"@|%40|\N{FULLWIDTH COMMERCIAL AT}|\N{SMALL COMMERCIAL AT}", re.IGNORECASE)
_COLON = r"(?::|%3a|\N{FULLWIDTH COLON})"
_LOCAL = r"(?:ipc|file|inproc)"
_WORD = r"[a-z0-9+.-]"
# A scheme, however its punctuation is misspelt; an unknown scheme needs a slash, since any word may precede a colon.
_SCHEME = (
    rf"(?<!{_WORD})(?:(?:https?|mms\w?|mqtts?|rtmp\w?|rtps|rtsp[su]?|rstp|s?ftp|srt|tcp|udp|wss?)(?:{_COLON}|[;./\\])[:;./\\]*"
    rf"|(?!{_LOCAL}:)[a-z]{_WORD}*{_COLON}[/\\]+)"
)
# Without a scheme: a part of a path that contains a colon, as in user:password.
_PART = rf"(?:^|(?<=[\s/\\'\"(=,]))(?!{_LOCAL}:[/\\])(?=[^\s/\\:'\"(=,]*?{_COLON}\S)"
_BEGINNING = re.compile(f"{_SCHEME}|{_PART}", re.IGNORECASE)
_URL = re.compile(_SCHEME, re.IGNORECASE)

_USER_ALONE = re.compile(r"(?:https?|mqtts?|rtsps?)://[^\s:@/\\?#=%]+@[^\s@?#=%]*", re.IGNORECASE)

# User and password without a host: what follows the colon is no port. ZeroMQ's addresses have no users.
_PORT = rf"(?:{_VALUE_MARK}|PORT|\*|\d{{1,5}}|)(?:$|[\s/?#:'\"\]),;.…]|[^\x00-\x7f])"
_PASSWORD_FOR_PORT = re.compile(
    rf"((?!tcp:){_SCHEME}(?:\[[^\]]{{0,100}}\]|[^\s/\\?#:@\[\]'\"]*)):(?!{_PORT})\S+", re.IGNORECASE
)

# A parameter's name is scanned as a whole, once: 100 KB of text may consist of such words.
_INSIDE = r"[\w.-]*(?:auth|cred|login|pass|pwd|secret|token)"
_WHOLE = r"(?:[\w.-]*[_.-])?(?:key|pin|psk|pw|session|sid|sig|user|username|usr)(?=[_.=-])"
_PARAMETER = re.compile(rf"(?:[?&;#][^\s=&?#;]*|(?<![\w.-])(?=(?:{_INSIDE}|{_WHOLE}))[\w.-]*+)=(?=\S)", re.IGNORECASE)
_NAMELESS = re.compile(rf"(?<=[?&#])(?!{_VALUE_MARK}|['\"](?:$|[\s:,;)]))[^=&?#\s][^=&?#]*(?=[&?#]|$)")

_VALUE = re.compile("=[^&]*")
_VALUE_IN_TEXT = re.compile(rf"=(?!{_VALUE_MARK}|\s)[^&]*")
_HIDDEN_USER = re.compile(r"""(?:(?<=://)|(?<=[\s/'"(])|^)\*\*\*@""")
_HIDDEN_VALUE = re.compile(r"""(?<=[=?&#:])\*\*\*(?=$|[\s&'":;,)\]])""")


def without_credentials(address: str) -> str:
    """Return an address that is safe to show: user, password and parameter values are replaced by `***`.

    Already hidden parts may be hidden again. For longer text use `redacted`.
    """
    return _without_values(_without_userinfo(address), _VALUE)


def holds_password(address: str) -> bool:
    """Return whether an address may hide more than a user name; the path of an existing file never does."""
    if _USER_ALONE.fullmatch(address) or without_credentials(address) == address:
        return False
    try:
        return not os.path.exists(address)  # noqa: PTH110 - Path.exists raises
    except ValueError:  # the address contains a NUL
        return True


def redacted(text: str) -> str:
    """Return a message, log line or traceback that is safe to show; parts already hidden stay as they are."""
    if not any(sign in text for sign in "@=:\N{FULLWIDTH COMMERCIAL AT}\N{SMALL COMMERCIAL AT}%"):
        return text
    marked = _HIDDEN_VALUE.sub(_VALUE_MARK, _HIDDEN_USER.sub(_USER_MARK, text))
    shown = _without_values(_without_userinfo(marked), _VALUE_IN_TEXT)
    return shown.replace(_USER_MARK, f"{_HIDDEN}@").replace(_VALUE_MARK, _HIDDEN)


def _without_userinfo(text: str) -> str:
    ends = [found.span() for found in _AT.finditer(text)]
    begin = _BEGINNING.search(text, 0, ends[-1][1]) if ends else None
    if begin is None:
        return _PASSWORD_FOR_PORT.sub(rf"\1:{_HIDDEN}", text)
    hidden, rest = text[begin.end() : ends[-1][1]], text[ends[-1][1] :]
    if _PARAMETER.search(hidden):  # the rest may belong to a parameter's value that contains an @
        rest = _HIDDEN + "".join(rest.partition("&")[1:])
    return f"{text[: begin.end()]}{_HIDDEN}@{rest}"


def _without_values(text: str, value: re.Pattern[str]) -> str:
    url, parameter = _URL.search(text), _PARAMETER.search(text)
    begins = [found.start() for found in (url, parameter) if found is not None]
    if not begins:
        return text
    kept, rest = text[: min(begins)], text[min(begins) :]
    return kept + _NAMELESS.sub(_HIDDEN, value.sub(f"={_HIDDEN}", rest))


class RedactedStream(io.TextIOBase):
    """A text stream that hides credentials in every text, such as a line of a traceback, before it passes it on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """See io."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """See io."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """See io."""
        self._stream.write(redacted(text))
        return len(text)

    def flush(self) -> None:
        """See io."""
        self._stream.flush()

    def fileno(self) -> int:
        """See io."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """See io."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """See io."""
        return True
